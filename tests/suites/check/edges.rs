//! Two edges to be told apart, and what they are sent.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use caracal_mandate::config::{Configuration, Revocation};
use caracal_mandate::decision::context::Context;
use caracal_mandate::decision::verifier::{Credential, Screened, Verdict, Verifier};
use caracal_mandate::jwks::key_set::KeySet;
use caracal_mandate::jwks::signature::PureRust;
use caracal_mandate::request::RequestView;
use caracal_mandate::revocation::{AnchorId, Availability, RevocationView};
use caracal_mandate::routing::routes::RuleId;
use caracal_mandate::token::cache::MandateCache;
use caracal_mandate::zone::ZoneIndex;
use caracal_tests::mint::{Key, claims};
use serde_json::{Value, json};

pub(crate) const NOW: u64 = 1_767_225_600;

/// What is the matter around a request, besides itself.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct World {
    /// `sid-1` is revoked.
    pub(crate) revoked: bool,
    pub(crate) epoch: u64,
    pub(crate) state_age_s: u64,
    pub(crate) anchors: u64,
    /// For how long the key set could not be refreshed.
    pub(crate) key_set_age_s: u64,
    /// For how long the key is withdrawn; a key set lives for its time.
    pub(crate) withdrawn_s: Option<u64>,
}

struct View<'a>(&'a Configuration, World);

impl RevocationView for View<'_> {
    fn availability(&self) -> Availability {
        let View(configuration, world) = self;
        match &configuration.revocation {
            Revocation::Disabled(_) => Availability::Ready,
            Revocation::Feed(feed)
                if world.state_age_s > feed.max_staleness_s
                    || world.anchors > configuration.limits.max_anchors =>
            {
                Availability::Unavailable("in the test")
            }
            Revocation::Feed(_) => Availability::Ready,
        }
    }

    fn is_revoked(&self, anchor: AnchorId) -> bool {
        let is_asked = matches!(self.0.revocation, Revocation::Feed(_));
        is_asked && self.1.revoked && anchor == AnchorId::of("sid-1")
    }

    fn delegation_epoch(&self) -> u64 {
        match self.0.revocation {
            Revocation::Feed(_) => self.1.epoch,
            Revocation::Disabled(_) => 0,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Mandate {
    pub(crate) claims: Value,
    pub(crate) token: String,
    pub(crate) algorithm: &'static str,
}

pub(crate) struct Keys {
    es256: Key,
    eddsa: ed25519_compact::KeyPair,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Keys {
            es256: Key::new("k1", 1),
            eddsa: ed25519_compact::KeyPair::from_seed(ed25519_compact::Seed::new([7; 32])),
        }
    }

    fn set(&self) -> Value {
        let x = BASE64.encode(self.eddsa.pk.as_ref());
        json!({"keys": [self.es256.jwk(),
            {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "k2", "x": x}]})
    }

    fn sign(&self, claims: &Value, algorithm: &'static str) -> Mandate {
        let token = match algorithm {
            "EdDSA" => {
                let part = |part: &Value| BASE64.encode(part.to_string());
                let header = json!({"alg": "EdDSA", "kid": "k2"});
                let input = format!("{}.{}", part(&header), part(claims));
                let signature = self.eddsa.sk.sign(&input, None);
                format!("{input}.{}", BASE64.encode(signature.as_ref()))
            }
            _ => self.es256.sign(claims),
        };
        let claims = claims.clone();
        Mandate {
            claims,
            token,
            algorithm,
        }
    }
}

/// A mandate that satisfies nearly everything, and ways in which one may be less.
pub(crate) fn mandates(keys: &Keys) -> Vec<Mandate> {
    let base = claims(
        NOW,
        json!({
            "scope": "a b c", "target": ["t1", "t2"], "agent_session_id": "agent-1",
            "delegation_edge_id": "edge-1", "hop_count": 0, "delegation_graph_epoch": 5,
            "delegation_chain": [{"application_id": "app-1"}, {"application_id": "app-2"}],
        }),
    );
    let ways = [
        json!({"delegation_edge_id": "edge-é"}),
        json!({"jti": "é", "delegation_edge_id": " edge"}),
        json!({"scope": "a b"}),
        json!({"scope": "a c"}),
        json!({"scope": "b"}),
        json!({"scope": null}),
        json!({"target": ["t1"]}),
        json!({"target": null}),
        json!({"agent_session_id": null}),
        json!({"delegation_edge_id": null}),
        json!({"delegation_chain": [{"application_id": "app-1"}]}),
        json!({"delegation_chain": null}),
        json!({"hop_count": 2}),
        json!({"hop_count": 3}),
        json!({"hop_count": 11}),
        json!({"use": "session"}),
        json!({"aud": "resource://other"}),
        json!({"aud": ["resource://billing-api", "resource://other"]}),
        json!({"aud": "resource://third"}),
        json!({"iss": "https://other.example.test"}),
        json!({"zone_id": "zone-2"}),
        json!({"exp": NOW + 600}),
        json!({"exp": NOW + 601}),
        json!({"exp": NOW + 901}),
        json!({"iat": NOW + 61}),
        json!({"iat": NOW + 60}),
        json!({"nbf": NOW + 120}),
        json!({"nbf": NOW + 121}),
        json!({"filling": "x".repeat(7_000)}),
        json!({"sid": "sid-2"}),
        json!({"delegation_graph_epoch": null}),
    ];
    let mut changes = vec![json!({})];
    for (n, one) in ways.iter().enumerate() {
        changes.push(one.clone());
        for other in &ways[n + 1..] {
            let mut both = one.clone();
            for (name, value) in other.as_object().unwrap() {
                both[name] = value.clone();
            }
            changes.push(both);
        }
    }
    let changed = |change: &Value| {
        let mut claims = base.clone();
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            }
        }
        claims
    };
    let mut all: Vec<Mandate> = changes
        .iter()
        .map(|c| keys.sign(&changed(c), "ES256"))
        .collect();
    all.push(keys.sign(&changed(&json!({})), "EdDSA"));
    all.push(keys.sign(&changed(&json!({"scope": "a b"})), "EdDSA"));
    all
}

/// A request without its mandate.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) host: Option<String>,
    pub(crate) names: Vec<String>,
}

/// One edge of a pair.
pub(crate) struct Edge {
    configuration: Configuration,
    verifier: Verifier,
    keys: KeySet,
    cache: MandateCache,
}

impl Edge {
    pub(crate) fn new(document: &Value, keys: &Keys) -> Self {
        let document = document.to_string();
        let configuration = Configuration::from_json(document.as_bytes(), &|_| None).unwrap();
        let set = keys.set().to_string();
        Edge {
            verifier: Verifier::from(&configuration),
            keys: KeySet::parse(set.as_bytes(), &configuration.algorithms).unwrap(),
            configuration,
            cache: MandateCache::new(10_000),
        }
    }

    pub(crate) fn admits(
        &mut self,
        asked: &Asked,
        mandate: Option<&Mandate>,
        world: World,
    ) -> bool {
        let value = mandate.map(|mandate| format!("Bearer {}", mandate.token));
        let authorization: Vec<&[u8]> = value.iter().map(String::as_bytes).collect();
        let names: Vec<&[u8]> = asked.names.iter().map(String::as_bytes).collect();
        let view = RequestView {
            names_client: false,
            lists_end_to_end: false,
            mcp: None,
            method: Some(asked.method.as_bytes()),
            target: Some(asked.path.as_bytes()),
            authority: asked.host.as_deref().map(str::as_bytes),
            resource: &names,
            authorization: &authorization,
        };
        // A set that was fetched just before the key was withdrawn serves for its time.
        let zones = self.configuration.accepted_zones();
        let has_keys = |zone: ZoneIndex| {
            let jwks = &zones[zone.place()].jwks;
            world.key_set_age_s <= jwks.ttl_s + jwks.max_stale_s
                && world.withdrawn_s.is_none_or(|age| age <= jwks.ttl_s)
        };
        let view_of_state = View(&self.configuration, world);
        let context = |credential: &Credential<'_>| Context {
            keys: Some(&self.keys).filter(|_| credential.zone().is_some_and(has_keys)),
            revocation: &view_of_state,
            signatures: &PureRust,
            now: NOW,
        };
        let mut at = None;
        let screened = self.verifier.screen_at(&view, &self.cache, &mut at);
        // What goes on in shadow is let through, whatever would be answered.
        if self.verifier.is_in_shadow(at) {
            return true;
        }
        match screened {
            Err(_) => false,
            Ok(Screened::Excluded) => true,
            Ok(Screened::Credential(credential)) => {
                let with = context(&credential);
                let verdict = self.verifier.decide(&credential, with, &mut self.cache);
                matches!(verdict, Verdict::Admitted(_))
            }
        }
    }

    /// Whether it goes on without a mandate.
    pub(crate) fn excludes(&self, asked: &Asked) -> bool {
        let names: Vec<&[u8]> = asked.names.iter().map(String::as_bytes).collect();
        let location = self.verifier.locate(&RequestView {
            names_client: false,
            lists_end_to_end: false,
            mcp: None,
            method: Some(asked.method.as_bytes()),
            target: Some(asked.path.as_bytes()),
            authority: asked.host.as_deref().map(str::as_bytes),
            resource: &names,
            authorization: &[],
        });
        let is_excluded = matches!(location.rule, Some(RuleId::Excluded(_)));
        is_excluded || self.verifier.is_in_shadow(location.matched)
    }
}

pub(crate) fn worlds() -> Vec<World> {
    let quiet = World::default();
    vec![
        World {
            revoked: true,
            ..quiet
        },
        World { epoch: 6, ..quiet },
        World {
            state_age_s: 31,
            ..quiet
        },
        World {
            state_age_s: 60,
            ..quiet
        },
        World {
            state_age_s: 61,
            ..quiet
        },
        World {
            anchors: 1_500_000,
            ..quiet
        },
        World {
            anchors: 2_000_001,
            ..quiet
        },
        World {
            key_set_age_s: 901,
            ..quiet
        },
        World {
            key_set_age_s: 1_201,
            ..quiet
        },
        World {
            withdrawn_s: Some(300),
            ..quiet
        },
        World {
            withdrawn_s: Some(301),
            ..quiet
        },
        World {
            withdrawn_s: Some(601),
            ..quiet
        },
    ]
}
