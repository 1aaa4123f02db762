//! Every refusal: what the filter is told, and whether the mandate is used up.

use super::*;

#[test]
fn the_sts_s_refusals_are_passed_on_with_what_the_gateway_drops() {
    let scene = Scene::new(decided(json!("allow")));
    let refused = |decision: Value| {
        scene.sts.decide(&decided(decision));
        let mandate = scene.sts.mandate(AUDIENCE);
        let refused = scene.refused(&mandate);
        assert_eq!(scene.used_by(&mandate).as_deref(), Some("request-1"));
        refused
    };
    let denied = refused(json!({"deny": "outside_hours"}));
    is(&denied, 403, "access_denied", "sts_refused", true);
    assert_eq!(
        denied["error_description"],
        "policy denied (outside_hours); this mandate is used up, ask for a new one"
    );
    is(
        &refused(json!("rate_limit")),
        403,
        "access_denied",
        "sts_refused",
        true,
    );
    let limited = refused(json!({"too_many": 7}));
    is(&limited, 429, "rate_limited", "sts_refused", true);
    assert_eq!(limited["retry_after_s"], 7);
    let approval = refused(json!("step_up"));
    is(&approval, 401, "interaction_required", "sts_refused", true);
    assert_eq!(
        approval["www_authenticate"],
        r#"Bearer error="interaction_required""#
    );
    assert_eq!(
        approval["approval"],
        json!({
            "approval_id": "approval-1", "approval_type": "human_approval", "state": "pending",
            "tier": "standard", "binding": "resource",
            "approval_expires_at": "2030-01-01T00:00:00Z",
        })
    );
    let metric = r#"caracal_feed_exchanges_total{cause="sts_refused",result="refused"}"#;
    // With the one by which the scene was found ready.
    assert_eq!(scene.companion.metric(metric), 5.0);
}

#[test]
fn operations_and_targets_are_the_sts_s_to_judge() {
    let operations = json!([{"method": "GET", "path": "/a é", "scope": "billing:read"}]);
    let scene = Scene::new(json!({ AUDIENCE: resource(json!({ "operations": operations })) }));
    let send = |changes| scene.send(&scene.sts.mandate(AUDIENCE), changes).json();
    assert!(send(json!({"path": "/a é"}))["granted"].is_object());
    for other in [
        json!({"path": "/a"}),
        json!({"path": "/a é", "method": "POST"}),
    ] {
        let refused = send(other)["refused"].clone();
        is(
            &refused,
            403,
            "operation_not_permitted",
            "sts_refused",
            true,
        );
    }
    scene.sts.decide(&decided(json!("allow")));
    let other = scene.sts.odd(&json!({"target": ["resource://other"]}));
    let refused = scene.refused(&other);
    is(&refused, 403, "access_denied", "sts_refused", true);
    assert!(
        refused["error_description"]
            .as_str()
            .unwrap()
            .contains("mandate_target_mismatch")
    );
    let session = scene.sts.odd(&json!({"use": "session"}));
    is(
        &scene.refused(&session),
        401,
        "invalid_token",
        "sts_refused",
        true,
    );
}

#[test]
fn what_is_revoked_uses_no_mandate_up() {
    let scene = Scene::new(decided(json!("allow")));
    let before = scene.sts.exchanges();
    let anchors = ["sid-r", "root-r", "agent-r", "edge-r"];
    for anchor in anchors {
        let words = ["XADD", "caracal.sessions.revoke", "*", "session_id", anchor];
        let _: String = scene.redis.ask(&words);
    }
    let epoch = [
        "XADD",
        "caracal.delegations.invalidate",
        "*",
        "zone_id",
        ZONE,
        "epoch",
        "7",
    ];
    let _: String = scene.redis.ask(&epoch);
    until("they are revoked", SOON, || {
        let body = json!({"anchors": anchors, "zone": ZONE});
        let known = scene.companion.post("/v1/check", &body, None).json();
        known["revoked"].as_array().map(Vec::len) == Some(4) && known["epoch"] == 7
    });
    for (claim, anchor) in ["sid", "root_sid", "agent_session_id", "delegation_edge_id"]
        .into_iter()
        .zip(anchors)
    {
        let mandate = scene.sts.odd(&json!({ claim: anchor }));
        let answer = scene.ask(&mandate);
        is(&refusal(&answer), 401, "invalid_token", "revoked", false);
        assert_eq!(answer.json()["revoked"], json!([anchor]));
        assert_eq!(scene.used_by(&mandate), None);
    }
    let overtaken = scene.sts.odd(&json!({"delegation_graph_epoch": 6}));
    let answer = scene.ask(&overtaken);
    is(&refusal(&answer), 401, "invalid_token", "revoked", false);
    assert_eq!(answer.json()["epoch"], 7);
    assert_eq!(scene.used_by(&overtaken), None);
    assert_eq!(scene.sts.exchanges(), before);
    scene.granted(&scene.sts.odd(&json!({"delegation_graph_epoch": 7})));
}

#[test]
fn what_is_revoked_during_the_exchange_is_refused() {
    let scene = Scene::new(decided(json!({"late_ms": 1500})));
    let mandate = scene.sts.odd(&json!({"sid": "sid-late"}));
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| scene.refused(&mandate));
        until("the STS is asked", SOON, || {
            scene.used_by(&mandate).is_some()
        });
        let words = [
            "XADD",
            "caracal.sessions.revoke",
            "*",
            "session_id",
            "sid-late",
        ];
        let _: String = scene.redis.ask(&words);
        is(
            &asked.join().unwrap(),
            401,
            "invalid_token",
            "revoked",
            true,
        );
    });
}

#[test]
fn a_state_that_is_too_old_for_the_filter_uses_no_mandate_up() {
    let mut scene = Scene::new(decided(json!("allow")));
    let mandate = scene.sts.mandate(AUDIENCE);
    let before = scene.sts.exchanges();
    scene.redis.kill();
    until("the state is old", SOON, || {
        let answer = scene.send(&mandate, json!({"max_age_ms": 700}));
        answer.json()["refused"]["cause"] == "stale"
    });
    let refused = refusal(&scene.send(&mandate, json!({"max_age_ms": 700})));
    is(&refused, 503, "sts_unavailable", "stale", false);
    assert_eq!(scene.sts.exchanges(), before);
}

#[test]
fn a_mandate_that_cannot_be_read_is_refused_here() {
    let scene = Scene::new(decided(json!("allow")));
    let before = scene.sts.exchanges();
    let past = now() - 1;
    for (changes, error) in [
        (json!({"jti": ""}), "invalid_token"),
        (json!({"zone_id": "a b"}), "invalid_token"),
        (json!({"client_id": "a/b"}), "invalid_token"),
        (json!({"sid": 7}), "invalid_token"),
        (json!({"exp": now() + 90_000}), "invalid_token"),
        (json!({"exp": past}), "credential_expired_not_renewable"),
    ] {
        let refused = scene.refused(&scene.sts.odd(&changes));
        is(&refused, 401, error, "malformed", false);
    }
    is(
        &scene.refused("a.b.c"),
        401,
        "invalid_token",
        "malformed",
        false,
    );
    assert_eq!(scene.sts.exchanges(), before);
}

#[test]
fn a_companion_of_one_zone_exchanges_for_no_other() {
    let scene = Scene::with(decided(json!("allow")), &["--zone", ZONE]);
    scene.granted(&scene.sts.mandate(AUDIENCE));
    let other = scene.sts.odd(&json!({"zone_id": "zone-2"}));
    is(
        &scene.refused(&other),
        401,
        "zone_invalid",
        "malformed",
        false,
    );
}
