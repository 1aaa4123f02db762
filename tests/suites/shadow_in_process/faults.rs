//! Every host call fails once, at every place where the filter makes it. In shadow much goes
//! on, but nothing that a client made up, and nobody else's principal.

use std::rc::Rc;
use std::time::Duration;

use caracal_tests::companion::InProcess;
use caracal_tests::faulted::{Site, sites};
use caracal_tests::host::status::{BAD_ARGUMENT, INTERNAL_FAILURE, TRAP};
use caracal_tests::host::{Answer, Builder, FailurePolicy, Proxy, Request, Stream};
use caracal_tests::hosts::{APISIX, ENVOY, KONG, On};
use caracal_tests::mint::{Key, key_set};
use serde_json::json;

use crate::edge::{START, forging, mandate};

/// Of calls made alike, so many from the first on fail by themselves.
const EACH: u64 = 2;

/// `mixed`: one route is enforced.
fn builder(on: On, mixed: bool) -> Builder {
    let companion = Rc::new(InProcess::default());
    companion.revoke("revoked");
    let changes = json!({
        "enforcement": "shadow",
        "revocation": {"upstream": "feed", "poll_interval_ms": 100, "max_staleness_s": 5},
        "forward": {"authorization": false, "baggage": "verified"},
        "routes": {"/hard": {"enforcement": if mixed { "enforce" } else { "shadow" }}},
    });
    on.builder(&on.configuration(changes))
        .wall(Duration::from_secs(START))
        .workers(1)
        .failure_policy(FailurePolicy::Reload)
        .on_callout(move |callout| match on.is_sts(callout) {
            true => Answer::json(&key_set(&[&Key::new("k1", 1)])).after(Duration::from_millis(25)),
            false => companion.answer(callout),
        })
}

/// Requests that would be refused, that would be admitted, and that are refused.
fn live(proxy: &mut Proxy) -> [Vec<Stream>; 3] {
    let mut all = [Vec::new(), Vec::new(), Vec::new()];
    let trailers = [
        ("x-caracal-sub", "forged"),
        ("baggage", "caracal.sub=forged"),
    ];
    for _ in 0..2 {
        for request in [
            Request::get("/x"),
            Request::get("/x").bearer("a.b.c"),
            Request::get("/x").bearer(mandate(json!({"sid": "revoked"}))),
            Request::get("/x").bearer(mandate(json!({"aud": "other"}))),
            Request::post("/x", "body").trailers(trailers),
        ] {
            all[0].push(proxy.request(0, forging(request)));
        }
        let good = Request::post("/x", "body").trailers(trailers);
        all[1].push(proxy.request(0, forging(good).bearer(mandate(json!({})))));
        for request in [
            Request::get("/hard"),
            Request::get("/HARD"),
            Request::get("/x/..%2f%2e%2e//hard"),
            Request::get("/hard").bearer(mandate(json!({"sid": "revoked"}))),
        ] {
            all[2].push(proxy.request(0, forging(request)));
        }
        proxy.advance(Duration::from_millis(400));
    }
    all
}

/// Nothing that the client made up reached the service, in headers or in trailers.
fn is_clean(proxy: &Proxy, stream: Stream, principals: &[&[u8]], what: &str) {
    let Some(reached) = proxy.upstream(stream) else {
        return;
    };
    let trailers = reached.trailers.iter().flat_map(|one| one.iter());
    for (name, value) in reached.headers.iter().chain(trailers) {
        let forged = value.windows(6).any(|part| part == b"forged");
        assert!(!forged, "{what}: {}", name.escape_ascii());
        if name.eq_ignore_ascii_case(b"x-caracal-sub") && !value.is_empty() {
            assert!(principals.contains(&value), "{what}");
        }
    }
}

fn run(on: On, mixed: bool) {
    let all = sites(builder(on, mixed), EACH, |proxy| drop(live(proxy)));
    assert!(all.len() > 30, "{}", all.len());
    for wanted in all {
        for status in [BAD_ARGUMENT, INTERNAL_FAILURE, TRAP] {
            // Kong lets a request go on in whose response a filter traps, and its own
            // callbacks are not the filter's to mend.
            if on == KONG && (status == TRAP || wanted.name.ends_with("_metric")) {
                continue;
            }
            let what = format!("{on:?} {wanted:?} returns {status}");
            let started = builder(on, mixed)
                .on_host_call(move |call| (Site::of(call) == wanted).then_some(status))
                .start();
            // A host that cannot even start it serves nothing.
            let Ok(mut proxy) = started else { continue };
            let [bad, good, hard] = live(&mut proxy);
            for stream in bad {
                is_clean(&proxy, stream, &[], &what);
            }
            for stream in good {
                is_clean(&proxy, stream, &[b"user-1"], &what);
            }
            for stream in hard {
                is_clean(&proxy, stream, &[], &what);
                assert!(!mixed || proxy.upstream(stream).is_none(), "{what}");
            }
        }
    }
}

#[test]
fn in_envoy() {
    run(ENVOY, true);
}

#[test]
fn in_envoy_all_in_shadow() {
    run(ENVOY, false);
}

#[test]
fn in_kong() {
    run(KONG, true);
}

#[test]
fn in_apisix_all_in_shadow() {
    run(APISIX, false);
}
