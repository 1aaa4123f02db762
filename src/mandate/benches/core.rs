//! `make bench`: how long the core's parts take on this machine, compiled natively. In
//! the proxy they run as wasm. What matters here is how the times change.

#![allow(
    clippy::unwrap_used,
    reason = "a panic is a benchmark that does not run"
)]

use std::hint::black_box;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use caracal_mandate::config::Configuration;
use caracal_mandate::decision::context::Context;
use caracal_mandate::decision::verifier::{Screened, Verdict, Verifier};
use caracal_mandate::jwks::algorithm::Algorithm;
use caracal_mandate::jwks::key_set::KeySet;
use caracal_mandate::jwks::signature::PureRust;
use caracal_mandate::request::RequestView;
use caracal_mandate::revocation::anchors::RevokedAnchors;
use caracal_mandate::revocation::{AnchorId, Availability, RevocationView};
use caracal_mandate::routing::path::{InvalidPath, RequestPath};
use caracal_mandate::token::cache::MandateCache;
use criterion::{BatchSize, Criterion};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};

const NOW: u64 = 1_767_225_600;
const MANY: u32 = 1_000_000;
/// The status for a revoked, an expired or a missing mandate.
const UNAUTHORIZED: u16 = 401;

/// Name, `Authorization`, revoked anchors, number of remembered mandates, and the
/// expected status.
type Case<'a> = (&'a str, Option<&'a [u8]>, &'a View, usize, u16);

/// Revoked anchors as a decision sees them.
#[derive(Default)]
struct View(RevokedAnchors);

impl View {
    fn of(anchors: impl IntoIterator<Item = String>) -> Self {
        let mut view = View::default();
        for anchor in anchors {
            view.0.insert(AnchorId::of(&anchor), u32::MAX);
        }
        view
    }
}

impl RevocationView for View {
    fn availability(&self) -> Availability {
        Availability::Ready
    }

    fn is_revoked(&self, anchor: AnchorId) -> bool {
        self.0.contains(anchor, 1)
    }

    fn delegation_epoch(&self) -> u64 {
        0
    }
}

/// A key of the benchmark.
fn signing_key(number: u8) -> SigningKey {
    SigningKey::from_slice(&[number; 32]).unwrap()
}

/// A key set with this many keys; the first is `k1`.
fn key_set(keys: u8) -> String {
    let jwk = |number| {
        let point = signing_key(number).verifying_key().to_sec1_point(false);
        let coordinates = point.as_bytes().get(1..).unwrap();
        let (x, y) = coordinates.split_at(32);
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig",
            "kid": format!("k{number}"), "x": BASE64.encode(x), "y": BASE64.encode(y)})
    };
    json!({"keys": (1..=keys).map(jwk).collect::<Vec<Value>>()}).to_string()
}

/// The `Authorization` value of a mandate that expires at this time.
fn bearer(expires: u64) -> Vec<u8> {
    let header = json!({"alg": "ES256", "typ": "JWT", "kid": "k1"});
    let claims = json!({
        "iss": "https://sts.example.test", "aud": "resource://billing-api",
        "exp": expires, "iat": expires.saturating_sub(900), "jti": "jti-1", "sub": "user-1",
        "sid": "sid-1", "root_sid": "root-1", "client_id": "app-1", "zone_id": "zone-1",
        "use": "resource", "sub_type": "user", "scope": "billing:read",
        "agent_session_id": "agent-session-1", "delegation_edge_id": "delegation-1", "hop_count": 1,
    });
    let encode = |part: Value| BASE64.encode(part.to_string());
    let input = format!("{}.{}", encode(header), encode(claims));
    let signature: Signature = signing_key(1).sign(input.as_bytes());
    format!("Bearer {input}.{}", BASE64.encode(signature.to_bytes())).into_bytes()
}

fn verifier() -> Verifier {
    let configuration = json!({
        "issuer": "https://sts.example.test", "zone_id": "zone-1",
        "audience": "resource://billing-api", "jwks": {"upstream": "sts"},
        "revocation": {"upstream": "feed"}, "required_scopes": ["billing:read"],
    });
    let configuration = Configuration::from_json(configuration.to_string().as_bytes(), &|_| None);
    Verifier::from(&configuration.unwrap())
}

/// One request: 200, or the status of its refusal.
fn request(
    verifier: &Verifier,
    authorization: &[&[u8]],
    with: Context<'_>,
    cache: &mut MandateCache,
) -> u16 {
    let view = RequestView {
        method: Some(b"GET"),
        target: Some(b"/v1/invoices/17?page=2"),
        authorization,
        ..RequestView::default()
    };
    match verifier.screen(&view, cache) {
        Err(refusal) => refusal.code().http_status(),
        Ok(Screened::Excluded) => 0,
        Ok(Screened::Credential(credential)) => match verifier.decide(&credential, with, cache) {
            Verdict::Admitted(_) => 200,
            Verdict::Refused(refusal, _) => refusal.code().http_status(),
            Verdict::NeedsKeySet(_) | Verdict::NeedsRevocations(_) => 0,
        },
    }
}

fn requests(criterion: &mut Criterion) {
    let verifier = verifier();
    let keys = KeySet::parse(key_set(2).as_bytes(), &[Algorithm::Es256]).unwrap();
    let (none, revoked) = (View::default(), View::of(["sid-1".to_owned()]));
    let (good, past) = (bearer(NOW.saturating_add(900)), bearer(NOW - 600));
    let context = |revocation| Context {
        keys: Some(&keys),
        revocation,
        signatures: &PureRust,
        now: NOW,
    };
    let cases: [Case<'_>; 5] = [
        ("warm", Some(&good), &none, 1, 200),
        ("cold", Some(&good), &none, 0, 200),
        ("expired", Some(&past), &none, 1, UNAUTHORIZED),
        ("revoked", Some(&good), &revoked, 1, UNAUTHORIZED),
        ("no token", None, &none, 1, UNAUTHORIZED),
    ];
    let mut group = criterion.benchmark_group("screen and decide");
    for (name, token, view, remembered, expected) in cases {
        let mut cache = MandateCache::new(remembered);
        let token: Vec<&[u8]> = token.into_iter().collect();
        let mut ask = || request(&verifier, black_box(&token), context(view), &mut cache);
        assert_eq!(ask(), expected, "{name}");
        group.bench_function(name, |bencher| bencher.iter(&mut ask));
    }
    group.finish();
}

fn paths(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("path");
    for (name, path) in [
        ("plain", "/v1/invoices/17?page=2"),
        ("encoded", "/v1/invoices/%C3%BCber%20uns/17"),
        ("strange", "/v1//invoices/./17;v=1/%2e%2e/18"),
    ] {
        let is_admin = |reading: &[u8]| reading.starts_with(b"/admin");
        let read = || {
            let path = RequestPath::parse(Some(black_box(path.as_bytes())), true)?;
            path.readings(|reading, _| match is_admin(reading) {
                true => Err(InvalidPath::Ambiguous),
                false => Ok(()),
            })
        };
        assert_eq!(read(), Ok(()), "{name}");
        group.bench_function(name, |bencher| bencher.iter(read));
    }
    group.finish();
}

fn key_sets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("key set");
    for keys in [1, 16] {
        let document = key_set(keys);
        let parse = || KeySet::parse(black_box(document.as_bytes()), &[Algorithm::Es256]);
        assert_eq!(parse().unwrap().keys().len(), usize::from(keys));
        group.bench_function(format!("of {keys}"), |bencher| bencher.iter(parse));
    }
    group.finish();
}

fn anchors(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("anchors");
    for held in [0, MANY] {
        let view = View::of((0..held).map(|n| format!("anchor-{n}")));
        assert_eq!(view.is_revoked(AnchorId::of("anchor-0")), held > 0);
        // A new one each time, so that it is not in the processor's caches.
        let mut next = 0_u32;
        group.bench_function(format!("lookup in {held}"), |bencher| {
            bencher.iter_batched(
                || {
                    next = next.wrapping_add(7_919);
                    AnchorId::of(&format!("free-{next}"))
                },
                |id| view.is_revoked(black_box(id)),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(50)
        .configure_from_args();
    requests(&mut criterion);
    paths(&mut criterion);
    key_sets(&mut criterion);
    anchors(&mut criterion);
    criterion.final_summary();
}
