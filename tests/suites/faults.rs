//! Every host call, at every place where the filter makes it, returning every
//! status: one fault in each run, by enumeration, in each of the three hosts. The filter
//! neither traps nor lets through what it cannot prove, and is well again when the host
//! is.

use std::rc::Rc;
use std::time::Duration;

use caracal_tests::companion::InProcess;
use caracal_tests::faulted::{Site, sites};
use caracal_tests::host::{Answer, Builder, Outcome, Proxy, Request, Stream, Vm};
use caracal_tests::hosts::{APISIX, ENVOY, KONG, On};
use caracal_tests::mint::{Key, key_set};
use serde_json::json;

const START: u64 = 1_767_225_600;
/// What a host may say, and a number that no host says.
const STATUSES: [u32; 10] = [1, 2, 3, 4, 6, 7, 8, 10, 12, 99];
/// Of calls made alike, so many from the first on are faulted by themselves.
const EACH: u64 = 3;
/// The suite's parts, which run side by side.
const PARTS: usize = 4;

fn token(key: &Key, sid: &str) -> String {
    key.mandate(START, json!({"sid": sid}))
}

fn builder(on: On) -> Builder {
    let companion = Rc::new(InProcess::default());
    companion.revoke("revoked");
    let changes = json!({
        "revocation": {"upstream": "feed", "poll_interval_ms": 100, "max_staleness_s": 5},
        "forward": {"authorization": false},
        "exclude": ["/open"],
    });
    on.builder(&on.configuration(changes))
        .wall(Duration::from_secs(START))
        .workers(1)
        .on_callout(move |callout| match on.is_sts(callout) {
            true => Answer::json(&key_set(&[&Key::new("k1", 1)])).after(Duration::from_millis(25)),
            false => companion.answer(callout),
        })
}

/// Whether the host traps by itself when this call fails (Kong): the filter can do
/// nothing about it but come back.
fn traps(on: On, site: &Site) -> bool {
    on == KONG && site.name.ends_with("_metric")
}

/// A life: requests that wait for keys and revocations, requests that don't, a
/// body, trailers, a client that leaves. Returns what must not be forwarded, and
/// what may be, without the forged names in it.
fn live(proxy: &mut Proxy) -> (Vec<Stream>, Vec<Stream>) {
    let (key, stranger) = (Key::new("k1", 1), Key::new("k1", 9));
    let forged = [("x-caracal-sub", "forged")];
    let (mut bad, mut good) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        for token in [
            token(&key, "revoked"),
            token(&stranger, "free"),
            "a.b.c".to_owned(),
        ] {
            bad.push(proxy.request(0, Request::get("/").bearer(token)));
        }
        bad.push(proxy.request(0, Request::get("/")));
        bad.push(proxy.request(0, Request::get("/open/../x").bearer(token(&key, "free"))));
        let whole = Request::post("/", "body")
            .bearer(token(&key, "free"))
            .trailers(forged);
        for request in [whole, Request::get("/open")] {
            good.push(proxy.request(0, request.header("x-caracal-sub", "forged")));
        }
        let leaving = proxy.request(0, Request::get("/").bearer(token(&key, "free")));
        proxy.cancel(leaving);
        proxy.advance(Duration::from_millis(400));
    }
    (bad, good)
}

fn run(on: On, part: usize) {
    let all = sites(builder(on), EACH, |proxy| drop(live(proxy)));
    assert!(all.len() > 40, "{}", all.len());
    let mut runs = 0;
    for (number, site) in all.iter().enumerate().filter(|(n, _)| n % PARTS == part) {
        for status in STATUSES {
            runs += 1;
            let what = format!("{number}: {site:?} returns {status}");
            let wanted = *site;
            let started = builder(on)
                .on_host_call(move |call| (Site::of(call) == wanted).then_some(status))
                .start();
            // A host that cannot even start it serves nothing.
            let Ok(mut proxy) = started else { continue };
            let (bad, good) = live(&mut proxy);
            for stream in good {
                let reached = proxy.upstream(stream);
                let all = reached.iter().flat_map(|r| {
                    let trailers = r.trailers.iter().flat_map(|t| t.all("x-caracal-sub"));
                    r.headers.all("x-caracal-sub").into_iter().chain(trailers)
                });
                for value in all {
                    assert_ne!(value, b"forged", "{what}");
                }
            }
            for stream in bad {
                assert!(proxy.upstream(stream).is_none(), "{what}");
            }
            for vm in [Vm::Main, Vm::Worker(0)] {
                let failed = proxy.failed(vm).is_some();
                assert!(!failed || traps(on, site), "{what}: {:?}", proxy.failed(vm));
            }
            proxy.no_faults();
            proxy.advance(Duration::from_secs(8));
            let key = Key::new("k1", 1);
            let mut ask = |sid: &str| {
                let request = Request::get("/").bearer(token(&key, sid));
                match on.ask(&mut proxy, 0, &request) {
                    Outcome::Forwarded(_) => 200,
                    Outcome::Replied(reply) => reply.status,
                    other => panic!("{what}: {other:?}"),
                }
            };
            assert_eq!((ask("free"), ask("revoked")), (200, 401), "{what}");
        }
    }
    println!(
        "{}: {runs} runs with one fault each, part {part} of {PARTS}, {} sites",
        on.name(),
        all.len()
    );
}

/// The parts of each host.
macro_rules! parts {
    ($($host:ident = $on:ident,)*) => {
        $(mod $host {
            use super::{$on, run};

            #[test]
            fn part_0() {
                run($on, 0);
            }

            #[test]
            fn part_1() {
                run($on, 1);
            }

            #[test]
            fn part_2() {
                run($on, 2);
            }

            #[test]
            fn part_3() {
                run($on, 3);
            }
        })*
    };
}

parts! {
    envoy = ENVOY,
    kong = KONG,
    apisix = APISIX,
}
