//! 64 zones: fetches are spread, each has its metrics, and a tick stays short.

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
