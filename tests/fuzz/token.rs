//! Input: what is done with the rest, and which route it is for. The rest is a
//! token as it is, or header and payload (a NUL between them) that a key of the
//! zone signs here; a signed one may then be damaged. What is admitted, another
//! implementation admits as well; what is revoked is not.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use caracal_mandate::config::Configuration;
use caracal_mandate::decision::context::Context;
use caracal_mandate::decision::verifier::{Credential, Screened, Verdict, Verifier};
use caracal_mandate::jwks::key_set::KeySet;
use caracal_mandate::jwks::signature::PureRust;
use caracal_mandate::request::RequestView;
use caracal_mandate::revocation::{AnchorId, Availability, RevocationView};
use caracal_mandate::routing::routes::Requirements;
use caracal_mandate::token::cache::MandateCache;
use caracal_mandate::token::claims::TokenUse;
use data_encoding::BASE64URL_NOPAD;
use p256::ecdsa::signature::Signer as _;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::independent::{self, Required, Zone};
use crate::{byte, until};

/// As in the conformance vectors, so that their tokens are inputs too.
const ISSUER: &str = "https://sts.example.test";
const AUDIENCE: &str = "https://payouts.example.test";
const ZONE: &str = "zone-1";
pub const NOW: u64 = 1_767_225_600;
const EPOCH: u64 = 7;
const REVOKED: [&str; 2] = ["revoked", "sid-revoked"];
const ROUTES: [&str; 8] = [
    "/",
    "/scope",
    "/session",
    "/delegation",
    "/chain",
    "/hops",
    "/target",
    "/use",
];

struct Signers {
    p256: p256::ecdsa::SigningKey,
    ed25519: Ed25519KeyPair,
}

struct World {
    verifier: Verifier,
    rules: BTreeMap<String, Requirements>,
    keys: KeySet,
    zone: Zone,
}

// One for each thread: a world shares mandates by `Rc`.
thread_local! {
    static WORLD: World = world();
}

static SIGNERS: LazyLock<Signers> = LazyLock::new(|| Signers {
    p256: p256::ecdsa::SigningKey::from_slice(&[5; 32]).unwrap(),
    ed25519: Ed25519KeyPair::from_seed_unchecked(&[6; 32]).unwrap(),
});

fn key_set() -> Value {
    let point = SIGNERS.p256.verifying_key().to_sec1_point(false);
    let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    json!({"keys": [
        {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k1",
         "x": encode(&point.as_bytes()[1..33]), "y": encode(&point.as_bytes()[33..])},
        {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "e1",
         "x": encode(SIGNERS.ed25519.public_key().as_ref())},
    ]})
}

fn world() -> World {
    let document = json!({
        "issuer": ISSUER, "zone_id": ZONE, "audience": AUDIENCE,
        "jwks": {"upstream": "sts"}, "revocation": "disabled",
        "algorithms": ["ES256", "EdDSA"],
        "routes": {
            "/scope": {"required_scopes": ["pay", "read"]},
            "/session": {"require_session": true},
            "/delegation": {"require_delegation": true},
            "/chain": {"require_chain_contains": ["app-a"]},
            "/hops": {"max_hop_count": 1},
            "/target": {"required_targets": ["res-1"]},
            "/use": {"required_use": "session"},
        },
    });
    let configuration = Configuration::from_json(document.to_string().as_bytes(), &|_| None);
    let configuration = configuration.unwrap();
    let key_set = key_set().to_string();
    let keys: BTreeMap<String, Vec<independent::Members>> = serde_json::from_str(&key_set).unwrap();
    let resources = configuration.in_force();
    let rules = &resources.all()[0].rules;
    let routes = rules.routes().iter();
    let mut by_prefix: BTreeMap<_, _> = routes
        .map(|route| (route.prefix.clone(), route.requirements.clone()))
        .collect();
    by_prefix.insert("/".to_owned(), rules.default_requirements().clone());
    World {
        verifier: Verifier::from(&configuration),
        rules: by_prefix,
        keys: KeySet::parse(key_set.as_bytes(), &configuration.algorithms).unwrap(),
        zone: Zone {
            issuer: ISSUER.to_owned(),
            audience: AUDIENCE.to_owned(),
            zone_id: ZONE.to_owned(),
            skew_s: configuration.clock_skew_s,
            now: NOW,
            keys: keys["keys"].iter().filter_map(independent::jwk).collect(),
            revoked: REVOKED.map(str::to_owned).to_vec(),
            epoch: EPOCH,
        },
    }
}

/// What is revoked here.
struct Revoked;

impl RevocationView for Revoked {
    fn availability(&self) -> Availability {
        Availability::Ready
    }

    fn is_revoked(&self, anchor: AnchorId) -> bool {
        REVOKED.iter().any(|one| AnchorId::of(one) == anchor)
    }

    fn delegation_epoch(&self) -> u64 {
        EPOCH
    }
}

pub fn check(data: &[u8]) {
    WORLD.with(|world| check_in(world, data));
}

fn check_in(world: &World, mut data: &[u8]) {
    let (mode, route) = (byte(&mut data), byte(&mut data));
    let mut token = match mode % 3 {
        0 => data.to_vec(),
        kind => {
            let header = until(&mut data, 0);
            sign(header, data, kind == 1)
        }
    };
    if mode & 0x40 != 0 {
        let size = token.len().max(1);
        if let Some(at) = token.get_mut(usize::from(mode) * 131 % size) {
            *at ^= route | 1;
        }
    }
    let route = ROUTES[usize::from(route) % ROUTES.len()];
    let authorization = [b"Bearer ", token.as_slice()].concat();
    let mut cache = MandateCache::new(2);
    let view = RequestView {
        target: Some(route.as_bytes()),
        authorization: &[&authorization],
        ..RequestView::default()
    };
    let screen = |cache: &MandateCache| match world.verifier.screen(&view, cache) {
        Ok(Screened::Credential(credential)) => Some(credential),
        _ => None,
    };
    let Some(credential) = screen(&cache) else {
        return;
    };
    let first = decide(world, &credential, &mut cache);
    let known = screen(&cache).expect("it was read before");
    let again = decide(world, &known, &mut cache);
    assert_eq!(
        outcome(&first),
        outcome(&again),
        "from the cache it is another verdict"
    );
    if let Verdict::Admitted(mandate) = first {
        let token = std::str::from_utf8(token.trim_ascii()).unwrap();
        let required = required(&world.rules[route]);
        let verdict = independent::verify(token, &world.zone, &required);
        assert_eq!(verdict, Ok(()), "admitted at {route}");
        let shown = format!("{:?}{}", mandate, mandate.fingerprint());
        for part in token.split('.').filter(|part| part.len() > 40) {
            assert!(!shown.contains(part), "a part of the token can be shown");
        }
    }
}

fn decide(world: &World, credential: &Credential<'_>, cache: &mut MandateCache) -> Verdict {
    let context = Context {
        keys: Some(&world.keys),
        revocation: &Revoked,
        signatures: &PureRust,
        now: NOW,
    };
    world.verifier.decide(credential, context, cache)
}

fn outcome(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Admitted(_) => "admitted".to_owned(),
        Verdict::Refused(refusal, _) => refusal.description().to_owned(),
        other => format!("{other:?}"),
    }
}

/// Signs header and payload, whatever they are.
fn sign(header: &[u8], payload: &[u8], p256: bool) -> Vec<u8> {
    let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let input = format!("{}.{}", encode(header), encode(payload));
    let signature = if p256 {
        let signature: p256::ecdsa::Signature = SIGNERS.p256.sign(input.as_bytes());
        encode(&signature.to_bytes())
    } else {
        encode(SIGNERS.ed25519.sign(input.as_bytes()).as_ref())
    };
    format!("{input}.{signature}").into_bytes()
}

fn required(of: &Requirements) -> Required {
    Required {
        scopes: of.required_scopes.clone(),
        targets: of.required_targets.clone(),
        token_use: match of.required_use {
            TokenUse::Session => "session".to_owned(),
            TokenUse::Resource => "resource".to_owned(),
            TokenUse::Gateway => "gateway".to_owned(),
        },
        session: of.require_session,
        delegation: of.require_delegation,
        chain: of.require_chain_contains.clone(),
        max_hops: of.max_hop_count,
    }
}
