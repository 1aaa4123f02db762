//! What becomes of an exchange when the STS is late, silent, odd or gone.

use super::*;

#[test]
fn late_is_waited_for_and_silence_is_not() {
    let scene = Scene::with(
        decided(json!({"late_ms": 300})),
        &["--sts-timeout-ms", "1000"],
    );
    scene.granted(&scene.sts.mandate(AUDIENCE));
    scene.sts.decide(&decided(json!("never")));
    let (mandate, since) = (scene.sts.mandate(AUDIENCE), Instant::now());
    let refused = scene.refused(&mandate);
    is(&refused, 504, "sts_unavailable", "sts_timeout", true);
    assert!(
        refused["error_description"]
            .as_str()
            .unwrap()
            .starts_with("sts timeout")
    );
    assert!((900..3_000).contains(&since.elapsed().as_millis()));
    assert_eq!(scene.used_by(&mandate).as_deref(), Some("request-1"));
}

#[test]
fn an_answer_that_is_none_is_no_grant() {
    let scene = Scene::new(decided(json!("allow")));
    let refused = |decision: &str| {
        scene.sts.decide(&decided(json!(decision)));
        scene.refused(&scene.sts.mandate(AUDIENCE))
    };
    is(
        &refused("oversize"),
        502,
        "sts_unavailable",
        "sts_answer",
        true,
    );
    is(
        &refused("not_json"),
        502,
        "sts_unavailable",
        "sts_answer",
        true,
    );
    let other = refused("other_resource");
    is(&other, 403, "access_denied", "no_upstream", true);
    let before = scene.sts.exchanges();
    is(
        &refused("redirect"),
        502,
        "sts_unavailable",
        "sts_refused",
        true,
    );
    assert_eq!(
        scene.sts.exchanges(),
        before + 1,
        "the redirect is not followed"
    );
}

#[test]
fn an_sts_that_is_gone_is_not_asked_for_a_while() {
    let mut scene = Scene::new(decided(json!("allow")));
    let mandates: Vec<_> = (0..6).map(|_| scene.sts.mandate(AUDIENCE)).collect();
    scene.sts.kill();
    for mandate in &mandates[..3] {
        is(
            &scene.refused(mandate),
            502,
            "sts_unavailable",
            "sts_unreachable",
            true,
        );
    }
    let refused = scene.refused(&mandates[3]);
    is(&refused, 503, "sts_unavailable", "circuit_open", false);
    assert!((1..=10).contains(&refused["retry_after_s"].as_u64().unwrap()));
    assert_eq!(scene.used_by(&mandates[3]), None);
    assert_eq!(scene.companion.metric("caracal_feed_sts_circuit_open"), 1.0);
}

#[test]
fn the_circuit_opens_after_three_failures_and_closes() {
    let scene = Scene::new(decided(json!("unavailable")));
    for _ in 0..3 {
        let refused = scene.refused(&scene.sts.mandate(AUDIENCE));
        is(&refused, 503, "sts_unavailable", "sts_refused", true);
    }
    let before = scene.sts.exchanges();
    scene.sts.decide(&decided(json!("allow")));
    let mandate = scene.sts.mandate(AUDIENCE);
    let opened = Instant::now();
    is(
        &scene.refused(&mandate),
        503,
        "sts_unavailable",
        "circuit_open",
        false,
    );
    assert_eq!(scene.sts.exchanges(), before, "the STS is spared");
    until("the STS is asked again", SOON, || {
        scene.ask(&mandate).json()["granted"].is_object()
    });
    assert!(
        opened.elapsed() > Duration::from_secs(8),
        "{:?}",
        opened.elapsed()
    );
    assert_eq!(scene.companion.metric("caracal_feed_sts_circuit_open"), 0.0);
    assert_eq!(
        scene
            .companion
            .metric("caracal_feed_sts_circuit_opened_total"),
        1.0
    );
    scene.granted(&scene.sts.mandate(AUDIENCE));
}

/// Policy that says no is no failure of the STS.
#[test]
fn refusals_do_not_open_the_circuit() {
    let scene = Scene::new(decided(json!({"deny": "no"})));
    for _ in 0..8 {
        let refused = scene.refused(&scene.sts.mandate(AUDIENCE));
        is(&refused, 403, "access_denied", "sts_refused", true);
    }
}

#[test]
fn no_more_are_under_way_than_allowed() {
    let resources = decided(json!({"late_ms": 1500}));
    let scene = Scene::with(resources, &["--max-exchanges", "2"]);
    let mandates: Vec<_> = (0..2).map(|_| scene.sts.mandate(AUDIENCE)).collect();
    let before = scene.sts.exchanges();
    std::thread::scope(|scope| {
        let all = mandates.iter();
        let asked: Vec<_> = all
            .map(|mandate| scope.spawn(|| scene.granted(mandate)))
            .collect();
        until("both are under way", SOON, || {
            scene.sts.exchanges() == before + 2
        });
        let third = scene.sts.mandate(AUDIENCE);
        let answer = scene.ask(&third);
        assert_eq!((answer.status, answer.error().as_str()), (503, "not_ready"));
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(scene.used_by(&third), None);
        for asked in asked {
            asked.join().unwrap();
        }
    });
    assert_eq!(
        scene.companion.metric("caracal_feed_exchanges_shed_total"),
        1.0
    );
    assert_eq!(
        scene.companion.metric("caracal_feed_exchanges_under_way"),
        0.0
    );
}

#[test]
fn told_to_stop_it_finishes_what_is_under_way() {
    let mut scene = Scene::new(decided(json!({"late_ms": 1500})));
    let (mandate, before) = (scene.sts.mandate(AUDIENCE), scene.sts.exchanges());
    let body = question(&mandate, json!({}));
    let address = scene.companion.address;
    let asked = std::thread::spawn(move || {
        let text = body.to_string();
        let size = text.len().to_string();
        let headers = [
            ("content-type", "application/json"),
            ("content-length", size.as_str()),
        ];
        let mut bytes = caracal_tests::servers::request("POST", "/v1/exchange", &headers);
        bytes.extend_from_slice(text.as_bytes());
        let mut client = caracal_tests::servers::Client::connect(address);
        client.exchange(&bytes).unwrap().json()
    });
    until("the STS is asked", SOON, || {
        scene.sts.exchanges() == before + 1
    });
    assert_eq!(scene.companion.stop(), Some(0));
    let answer = asked.join().unwrap();
    assert!(answer["granted"].is_object(), "{answer}");
}

#[test]
fn another_key_is_refused_by_the_sts_and_told_to_the_operator() {
    let redis = Redis::start(&[]);
    let sts = Sts::start(&[ZONE], &decided(json!("allow")));
    let companion = Companion::of(&redis.url())
        .with(&["--gateway", "--sts-url", &sts.url()])
        .environment("GATEWAY_STS_HMAC_KEY", &GATEWAY_KEY.replace("f0", "0f"))
        .started();
    let mandate = sts.mandate(AUDIENCE);
    let mut refused = Value::Null;
    until("it is asked", SOON, || {
        let answer = companion.post("/v1/exchange", &question(&mandate, json!({})), None);
        refused = answer.json()["refused"].clone();
        refused["cause"] != "redis"
    });
    is(&refused, 401, "access_denied", "sts_refused", true);
    assert_eq!(sts.exchanges(), 0);
    assert_eq!(sts.stats()["bad_signatures"], 1);
    until("it is told", SOON, || {
        companion.log().contains("GATEWAY_STS_HMAC_KEY")
    });
}

#[test]
fn no_log_has_a_token_a_key_or_a_credential() {
    let provider = json!({"kind": "api_key", "token": SECRET, "header": "X-Api-Key"});
    let resources = json!({ AUDIENCE: resource(json!({ "provider": provider })) });
    let scene = Scene::with(resources, &["--log-level", "trace"]);
    let mandate = scene.sts.mandate(AUDIENCE);
    assert_eq!(scene.granted(&mandate)["credential"], SECRET);
    is_replay(&scene.refused(&mandate));
    scene.sts.decide(&decided(json!({"deny": "no"})));
    let denied = scene.sts.mandate(AUDIENCE);
    scene.refused(&denied);
    let wrong = scene.send(&denied, json!({"unknown": 1}));
    let said = String::from_utf8(wrong.body).unwrap();
    let metrics = String::from_utf8(scene.companion.get("/metrics").body).unwrap();
    let logs = [scene.companion.log(), scene.sts.log(), said, metrics];
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    for secret in [
        signature(&mandate),
        signature(&denied),
        GATEWAY_KEY.to_owned(),
        SECRET.to_owned(),
        BASE64.encode(hex::decode(GATEWAY_KEY).unwrap()),
    ] {
        for log in &logs {
            assert!(!log.contains(&secret), "a secret is told");
        }
    }
    assert!(logs[0].contains("replay"), "the log is looked at");
}
