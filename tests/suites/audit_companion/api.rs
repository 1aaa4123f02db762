//! The API: who may, what is no batch, and looking for events.

use super::*;

#[test]
fn without_the_token_nothing_is_taken_or_shown() {
    let redis = Redis::default();
    let companion = Companion::of(&redis.url())
        .with(&["--audit-dir", folder("audit").to_str().unwrap()])
        .environment("AUDIT_HMAC_KEY", KEY)
        .environment("CARACAL_FEED_TOKEN", "the-token")
        .started();
    let body = json!({"events": events(0..1)});
    for token in [None, Some("another")] {
        assert_eq!(companion.post("/v1/audit", &body, token).status, 401);
    }
    assert_eq!(companion.get("/v1/audit/recent").status, 401);
    assert_eq!(
        companion.post("/v1/audit", &body, Some("the-token")).status,
        200
    );
    assert_eq!(ids(&until_arrived(&redis, 1)), [id(0)]);
}

#[test]
fn what_is_no_batch_is_refused() {
    let redis = Redis::default();
    let companion = audited(&redis.url(), &folder("audit")).started();
    for body in [
        json!({}),
        json!([]),
        json!({"events": []}),
        json!({"events": events(0..501)}),
    ] {
        let answer = companion.post("/v1/audit", &body, None);
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (400, "invalid_request"),
            "{body:.60}"
        );
    }
    let large = json!({"events": ["x".repeat(513 * 1024)]});
    let answer = companion.post("/v1/audit", &large, None);
    assert_eq!((answer.status, answer.error().as_str()), (413, "too_large"));
    assert_eq!(companion.get("/v1/audit").status, 405);
    assert_eq!(companion.get("/v1/audit/recent?after=x").status, 400);
}

/// A browser asks before it sends JSON to another site, and gets no answer that permits it.
#[test]
fn a_page_cannot_post_events() {
    let mut companion = Companion::new(&["--in-memory"]);
    companion.start();
    let body = json!({"events": events(0..1)}).to_string();
    let foreign = [("origin", "https://elsewhere.test")];
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "text/plain; application/json",
    ] {
        let headers = [foreign[0], ("content-type", kind)];
        let answer = companion
            .try_post_with("/v1/audit", body.as_bytes(), None, &headers)
            .unwrap();
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (415, "unsupported_media_type"),
            "{kind}"
        );
    }
    let untyped = companion.try_post_with("/v1/audit", body.as_bytes(), None, &foreign);
    assert_eq!(untyped.unwrap().status, 415);
    let asking = request(
        "OPTIONS",
        "/v1/audit",
        &[
            foreign[0],
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type"),
            ("connection", "close"),
        ],
    );
    let mut client = Client::connect(companion.address);
    let asked = client.exchange(&asking).unwrap();
    assert_eq!(asked.status, 405);
    let permits = |name: &str| asked.header(name).is_some();
    assert!(!permits("access-control-allow-origin"));
    assert!(!permits("access-control-allow-headers"));
    let seen = companion.get("/v1/audit/recent").json();
    assert_eq!(seen["events"], json!([]));
    accepted(&companion, &events(0..1));
}

#[test]
fn the_same_event_is_taken_once() {
    let redis = Redis::default();
    let mut companion = audited(&redis.url(), &folder("audit")).started();
    accepted(&companion, &events(0..10));
    // A filter that got no answer sends them again, with others.
    accepted(&companion, &events(5..15));
    accepted(&companion, &[event(15, json!({})), event(15, json!({}))]);
    assert_eq!(companion.metric("caracal_feed_audit_duplicates_total"), 6.0);
    companion.kill();
    companion.start();
    accepted(&companion, &events(10..20));
    assert_eq!(companion.metric("caracal_feed_audit_duplicates_total"), 6.0);
    // One that was killed may deliver some twice.
    until("they arrive", SOON, || {
        let seen: BTreeSet<String> = ids(&arrived(&redis)).into_iter().collect();
        seen.len() == 20
    });
}

/// Only the first one is kept; the other is no repetition of it.
#[test]
fn another_event_with_the_same_id_is_rejected() {
    let redis = Redis::default();
    let mut companion = audited(&redis.url(), &folder("audit")).started();
    let changed = |n: usize| {
        event(
            n,
            json!({"decision": "deny", "evaluation_status": "denied"}),
        )
    };
    accepted(&companion, &events(0..3));
    let answers = |companion: &Companion| {
        let batch = [changed(1), event(2, json!({})), event(3, json!({}))];
        send(companion, &batch).json()
    };
    assert_eq!(answers(&companion), json!({"accepted": 2, "rejected": 1}));
    // In one batch too.
    let answer = send(&companion, &[event(4, json!({})), changed(4)]);
    assert_eq!(answer.json(), json!({"accepted": 1, "rejected": 1}));
    assert_eq!(companion.metric("caracal_feed_audit_accepted_total"), 6.0);
    assert_eq!(companion.metric("caracal_feed_audit_rejected_total"), 0.0);
    assert_eq!(companion.metric("caracal_feed_audit_conflicts_total"), 2.0);
    let told = || companion.log().matches("the ids of other ones").count();
    assert_eq!(told(), 1);
    companion.kill();
    companion.start();
    assert_eq!(answers(&companion), json!({"accepted": 2, "rejected": 1}));
    until_arrived(&redis, 5);
    for stored in arrived(&redis) {
        assert_eq!(stored.event["decision"], "allow");
    }
}

#[test]
fn recent_events_are_found_and_followed() {
    let redis = Redis::default();
    let companion = audited(&redis.url(), &folder("audit")).started();
    accepted(&companion, &events(0..20));
    let page = |query: &str| {
        let page = companion.get(&format!("/v1/audit/recent?{query}")).json();
        let ids: Vec<String> = page["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["id"].as_str().unwrap().to_owned())
            .collect();
        (ids, page["next"].as_u64().unwrap())
    };
    assert_eq!(page("request_id=request-7").0, [id(7)]);
    assert!(page("request_id=request-70").0.is_empty());
    assert_eq!(page("max=2").0, [id(18), id(19)]);
    let (first, next) = page("after=0&max=15");
    assert_eq!(first, (0..15).map(id).collect::<Vec<_>>());
    let (rest, next) = page(&format!("after={next}&max=15"));
    assert_eq!(rest, (15..20).map(id).collect::<Vec<_>>());
    accepted(&companion, &events(20..21));
    assert_eq!(page(&format!("after={next}")).0, [id(20)]);
}

#[test]
fn without_redis_the_last_events_are_kept_for_development() {
    let mut companion = Companion::new(&["--in-memory"]);
    companion.start();
    accepted(&companion, &events(0..3));
    accepted(&companion, &events(0..3));
    let page = companion.get("/v1/audit/recent").json();
    assert_eq!(page["events"].as_array().unwrap().len(), 3);
    assert_eq!(companion.stop(), Some(0));
}

#[test]
fn a_companion_that_keeps_none_says_so() {
    let redis = Redis::default();
    let companion = Companion::of(&redis.url())
        .environment("AUDIT_HMAC_KEY", KEY)
        .started();
    let answer = send(&companion, &events(0..1));
    assert_eq!((answer.status, answer.error().as_str()), (404, "not_found"));
    assert!(
        answer.json()["error_description"]
            .as_str()
            .unwrap()
            .contains("--audit-dir")
    );
    assert_eq!(companion.get("/v1/audit/recent").status, 404);
    assert!(companion.log().contains("no audit events are taken"));
}
