//! A mandate is good once.

use super::*;

#[test]
fn of_two_hundred_at_once_one_is_exchanged() {
    let scene = Scene::new(decided(json!("allow")));
    let (mandate, before) = (scene.sts.mandate(AUDIENCE), scene.sts.exchanges());
    let life = claims(&mandate)["exp"].as_u64().unwrap() - now();
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let ask = |n: usize| {
            let id = format!("request-{n}");
            let (scene, mandate) = (&scene, &mandate);
            scope.spawn(move || scene.send(mandate, json!({ "request_id": id })).json())
        };
        let asked: Vec<_> = (0..200).map(ask).collect();
        asked
            .into_iter()
            .map(|asked| asked.join().unwrap())
            .collect()
    });
    let granted: Vec<usize> = (0..200)
        .filter(|n| answers[*n]["granted"].is_object())
        .collect();
    assert_eq!(granted.len(), 1, "{answers:?}");
    for refused in answers.iter().filter(|answer| answer["granted"].is_null()) {
        let refused = &refused["refused"];
        is_replay(refused);
        assert!(
            refused["error_description"]
                .as_str()
                .unwrap()
                .starts_with("token replay detected")
        );
    }
    assert_eq!(scene.sts.exchanges(), before + 1);
    assert_eq!(
        scene.used_by(&mandate),
        Some(format!("request-{}", granted[0]))
    );
    let left: u64 = scene
        .redis
        .ask(&["TTL", &format!("seen:jti:{}", jti(&mandate))]);
    assert!((life - 10..=life).contains(&left), "{left} of {life}");
    until("it is told", SOON, || {
        scene.companion.log().contains("replay")
    });
}

/// The product's Gateway, or another companion, has used it.
#[test]
fn a_mandate_that_another_gateway_has_used_is_refused() {
    let scene = Scene::new(decided(json!("allow")));
    let (mandate, before) = (scene.sts.mandate(AUDIENCE), scene.sts.exchanges());
    let key = format!("seen:jti:{}", jti(&mandate));
    let _: String = scene.redis.ask(&["SET", &key, "elsewhere", "EX", "60"]);
    is_replay(&scene.refused(&mandate));
    let mandate = scene.sts.mandate(AUDIENCE);
    let other = Companion::of(&scene.redis.url())
        .gateway(&scene.sts.url())
        .started();
    until("another one exchanges it", SOON, || {
        let answer = other.post("/v1/exchange", &question(&mandate, json!({})), None);
        answer.json()["granted"].is_object()
    });
    is_replay(&scene.refused(&mandate));
    assert_eq!(scene.sts.exchanges(), before + 1);
}

#[test]
fn a_refused_mandate_stays_used() {
    let scene = Scene::new(decided(json!({"deny": "no"})));
    let mandate = scene.sts.mandate(AUDIENCE);
    is(
        &scene.refused(&mandate),
        403,
        "access_denied",
        "sts_refused",
        true,
    );
    scene.sts.decide(&decided(json!("allow")));
    is_replay(&scene.refused(&mandate));
}

#[test]
fn without_redis_nothing_is_exchanged_and_it_recovers() {
    let mut scene = Scene::new(decided(json!("allow")));
    let (mandate, before) = (scene.sts.mandate(AUDIENCE), scene.sts.exchanges());
    scene.redis.kill();
    // At the first moment a mark may have been under way, and the answer says so.
    until("it knows that Redis is away", SOON, || {
        let other = scene.sts.mandate(AUDIENCE);
        let refused = scene.refused(&other);
        is(
            &refused,
            503,
            "sts_unavailable",
            "redis",
            refused["burnt"] == true,
        );
        refused["burnt"] == false
    });
    let refused = scene.refused(&mandate);
    is(&refused, 503, "sts_unavailable", "redis", false);
    assert_eq!(refused["retry_after_s"], 1);
    assert_eq!(scene.sts.exchanges(), before);
    scene.redis.restart();
    until("the same mandate is good", SOON, || {
        scene.ask(&mandate).json()["granted"].is_object()
    });
    assert_eq!(scene.sts.exchanges(), before + 1);
}

#[test]
fn a_redis_that_dies_between_mark_and_answer_spoils_nothing() {
    let mut scene = Scene::new(decided(json!({"late_ms": 1500})));
    let (mandate, before) = (scene.sts.mandate(AUDIENCE), scene.sts.exchanges());
    let body = question(&mandate, json!({}));
    let companion = &scene.companion;
    let (sts, redis) = (&scene.sts, &mut scene.redis);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| companion.post("/v1/exchange", &body, None).json());
        until("the STS is asked", SOON, || sts.exchanges() == before + 1);
        redis.kill();
        let answer = asked.join().unwrap();
        assert!(answer["granted"].is_object(), "{answer}");
    });
}

/// A Redis that hangs has been asked, or has not: what was not sent is not used up.
#[test]
fn a_redis_that_hangs_is_not_waited_for_long() {
    let scene = Scene::new(decided(json!("allow")));
    let before = scene.sts.exchanges();
    let mut sleeping = scene.redis.connection();
    let sleeper = std::thread::spawn(move || {
        redis::cmd("DEBUG")
            .arg("SLEEP")
            .arg("4")
            .exec(&mut sleeping)
    });
    std::thread::sleep(Duration::from_millis(400));
    let mandates = [scene.sts.mandate(AUDIENCE), scene.sts.mandate(AUDIENCE)];
    let since = Instant::now();
    for mandate in &mandates {
        let refused = scene.refused(mandate);
        is(
            &refused,
            503,
            "sts_unavailable",
            "redis",
            refused["burnt"] == true,
        );
    }
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(scene.sts.exchanges(), before);
    drop(sleeper.join().unwrap());
    until("it goes on", SOON, || {
        scene.ask(&scene.sts.mandate(AUDIENCE)).json()["granted"].is_object()
    });
}

#[test]
fn a_full_redis_uses_no_mandate_up() {
    let scene = Scene::new(decided(json!("allow")));
    let set = |value: &str| -> String { scene.redis.ask(&["CONFIG", "SET", "maxmemory", value]) };
    set("1");
    let mandate = scene.sts.mandate(AUDIENCE);
    is(
        &scene.refused(&mandate),
        503,
        "sts_unavailable",
        "redis",
        false,
    );
    set("0");
    scene.granted(&mandate);
}
