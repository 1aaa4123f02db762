//! 64 zones: fetches are spread, each has its metrics, and a tick stays short.

use caracal_tests::hosts::{APISIX, KONG};

use super::*;

fn names() -> Vec<String> {
    (0..64).map(|n| format!("zone-{n:02}")).collect()
}

fn many(changes: Value) -> (World, Proxy) {
    let names = names();
    let zones: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::new(ENVOY, &zones);
    let proxy = builder(&world, &zones, changes).start().unwrap();
    (world, proxy)
}

/// The largest number of fetches within 100 ms.
fn densest(times: &[Duration]) -> usize {
    let within = |from: Duration| {
        let until = from + Duration::from_millis(100);
        times
            .iter()
            .filter(|at| (from..until).contains(*at))
            .count()
    };
    times.iter().map(|at| within(*at)).max().unwrap_or(0)
}

#[test]
fn the_fetches_of_64_zones_do_not_come_in_one_burst() {
    let (world, mut proxy) = many(json!({"jwks": {"upstream": "sts", "ttl_s": 60}}));
    let (mut times, mut known) = (Vec::new(), 0);
    let mut watch = |proxy: &mut Proxy, seconds: u64| {
        for _ in 0..seconds * 100 {
            proxy.advance(Duration::from_millis(10));
            let fetched = world.fetches.borrow().len();
            times.extend(vec![proxy.now(); fetched - known]);
            known = fetched;
        }
        std::mem::take(&mut times)
    };
    let at_start = watch(&mut proxy, 3);
    assert_eq!(at_start.len(), 64, "each zone once, whatever the workers");
    let most = densest(&at_start);
    assert!(most <= 6, "{most} within 100 ms");
    // And so it is when they are fetched again.
    let again = watch(&mut proxy, 55);
    assert!(again.len() >= 64, "{}", again.len());
    let most = densest(&again);
    assert!(most <= 6, "{most} within 100 ms");
    proxy.assert_clean();
}

#[test]
fn a_zone_that_is_asked_for_comes_first() {
    let (world, mut proxy) = many(json!({}));
    proxy.advance(Duration::from_millis(20));
    let token = world.mandate("zone-63", json!({}));
    assert_eq!(answer(&world, &mut proxy, 0, &token), admitted());
    let waited = proxy.now();
    assert!(waited < Duration::from_millis(200), "{waited:?}");
    assert!(
        world.fetches_of("zone-62") == 0,
        "the others take their time"
    );
}

/// 63 STS that never answer do not hold up the last zone.
#[test]
fn many_zones_without_an_sts_do_not_hold_up_another() {
    let (world, mut proxy) = many(json!({}));
    for zone in &names()[..63] {
        let never = Answer::with(200, "{}").after(Duration::from_secs(3_600));
        world.instead.borrow_mut().insert(zone.clone(), never);
    }
    proxy.advance(Duration::from_secs(2));
    // Requests of the others wait meanwhile.
    for zone in &names()[..63] {
        proxy.request(0, Request::get("/").bearer(world.mandate(zone, json!({}))));
    }
    for _ in 0..5 {
        proxy.advance(Duration::from_secs(20));
        let token = world.mandate("zone-63", json!({}));
        let stream = proxy.request(1, Request::get("/").bearer(&token));
        assert_eq!(outcome(&proxy, stream), admitted(), "at {:?}", proxy.now());
    }
    proxy.assert_clean();
}

/// On Kong no request waits, but the key set that it lacked is fetched in the next tick.
#[test]
fn on_kong_a_zone_that_is_asked_for_comes_first_too() {
    let names = names();
    let zones: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::new(KONG, &zones);
    let mut proxy = builder(&world, &zones, json!({})).start().unwrap();
    proxy.advance(Duration::from_millis(20));
    let token = world.mandate("zone-63", json!({}));
    proxy.request(0, Request::get("/").bearer(&token));
    proxy.advance(Duration::from_millis(100));
    assert_eq!(world.fetches_of("zone-63"), 1);
    assert_eq!(world.fetches_of("zone-62"), 0, "the others take their time");
}

/// Half of the places are reserved: a zone whose STS is silent takes its part and what is
/// not reserved, and each other zone has its own part whatever the rest do.
#[test]
fn silent_zones_leave_places_for_each_other_zone() {
    for on in [ENVOY, APISIX] {
        let world = World::new(on, &ZONES);
        for silent in ["zone-a", "zone-b"] {
            let never = Answer::with(200, "{}").after(Duration::from_secs(3_600));
            world.instead.borrow_mut().insert(silent.to_owned(), never);
        }
        let limits = json!({
            "limits": {"max_paused": 12},
            "jwks": {"upstream": on.sts(), "timeout_ms": 60_000},
        });
        let mut proxy = builder(&world, &ZONES, limits).start().unwrap();
        let waiting = |proxy: &mut Proxy, zone: &str, from: usize| {
            let send = |n: usize| {
                let token = world.mandate(zone, json!({"jti": format!("{zone} {n}")}));
                proxy.request(0, Request::get("/").bearer(token))
            };
            let all: Vec<Stream> = (from..from + 40).map(send).collect();
            let waits = |stream: &&Stream| proxy.outcome(**stream).is_paused();
            let waiting: Vec<Stream> = all.iter().filter(waits).copied().collect();
            waiting
        };
        // A third of six is reserved for each zone; the other six are anybody's.
        let of_a = waiting(&mut proxy, "zone-a", 0);
        assert_eq!(of_a.len(), 8, "{on:?}");
        assert_eq!(waiting(&mut proxy, "zone-b", 0).len(), 2, "{on:?}");
        let of_c = waiting(&mut proxy, "zone-c", 0);
        assert_eq!(of_c.len(), 2, "{on:?}");
        for stream in of_c {
            on.settle(&mut proxy, stream);
            assert_eq!(outcome(&proxy, stream), admitted(), "{on:?}");
        }
        // Places are free again once those who had them are gone. APISIX tells the filter
        // only when their callouts end.
        for stream in of_a {
            proxy.cancel(stream);
        }
        if on == APISIX {
            proxy.advance(Duration::from_secs(90));
            assert!(!waiting(&mut proxy, "zone-a", 100).is_empty());
        } else {
            assert_eq!(waiting(&mut proxy, "zone-a", 100).len(), 8);
        }
    }
}

#[test]
fn each_zone_has_its_own_metrics() {
    let (world, mut proxy) = many(json!({}));
    world.outage("zone-07", true);
    proxy.advance(Duration::from_secs(90));
    let value = |name: &str| proxy.metric_value(name);
    assert_eq!(
        value("caracal_jwks_fetches_total.zone=zone-06.result=ok"),
        1
    );
    assert_eq!(
        value("caracal_jwks_fetches_total.zone=zone-06.result=error"),
        0
    );
    assert_eq!(
        value("caracal_jwks_fetches_total.zone=zone-07.result=ok"),
        0
    );
    assert!(value("caracal_jwks_fetches_total.zone=zone-07.result=error") > 3);
    let ages =
        ["zone-06", "zone-07"].map(|zone| value(&format!("caracal_jwks_age_seconds.zone={zone}")));
    assert!(
        (87..=90).contains(&ages[0]) && (89..=90).contains(&ages[1]),
        "{ages:?}"
    );
    assert!(proxy.metric("caracal_jwks_age_seconds").is_none());
    proxy.assert_clean();
}

/// No callback takes longer than a slice of 5 ms, which is some ten million units of work.
#[test]
fn a_tick_of_64_zones_stays_short() {
    let (_, mut proxy) = many(json!({}));
    proxy.forget();
    proxy.advance(Duration::from_secs(5));
    let costs = proxy.callbacks().iter().map(|one| one.fuel);
    let longest = costs.max().unwrap();
    assert!(longest < 5_000_000, "{longest} units");
}
