//! What is accepted arrives, in order and unchanged.

use super::*;

#[test]
fn events_arrive_signed_and_in_order() {
    let redis = Redis::default();
    let companion = audited(&redis.url(), &folder("audit")).started();
    accepted(
        &companion,
        &[event(
            0,
            json!({
                "decision": "deny", "evaluation_status": "denied", "occurred_at_us": 1_000_000 * (now_us() / 1_000_000) + 42,
                "metadata": {"reason": "session_revoked", "resource": "resource://x", "shadow": true},
            }),
        )],
    );
    for n in 0..4 {
        accepted(&companion, &events(1 + n * 500..501 + n * 500));
    }
    let arrived = until_arrived(&redis, 2_001);
    assert_eq!(ids(&arrived), (0..2_001).map(id).collect::<Vec<_>>());
    let mut first = arrived[0].event.clone();
    let at = first["occurred_at"].take();
    assert!(at.as_str().unwrap().ends_with(".000042Z"), "{at}");
    assert_eq!(
        first,
        json!({
            "id": id(0), "zone_id": "zone-1", "event_type": "edge_resource_request",
            "request_id": "request-0", "decision": "deny", "evaluation_status": "denied",
            "determining_policies_json": [], "diagnostics_json": [{"reason": "session_revoked"}],
            "metadata_json": {"resource": "resource://x", "shadow": true, "reason": "session_revoked"},
            "occurred_at": null,
        })
    );
    until("it is counted", SOON, || {
        companion.metric("caracal_feed_audit_delivered_total") == 2_001.0
    });
    assert_eq!(
        companion.metric("caracal_feed_audit_accepted_total"),
        2_001.0
    );
    assert_eq!(companion.metric("caracal_feed_audit_queue_events"), 0.0);
    assert!(companion.metric("caracal_feed_audit_queue_bytes") > 0.0);
}

/// Redis is gone while events are posted, and comes back.
#[test]
fn an_outage_of_redis_is_waited_for() {
    let mut redis = Redis::default();
    let folder = folder("audit");
    let mut companion = audited(&redis.url(), &folder).started();
    accepted(&companion, &events(0..50));
    until_arrived(&redis, 50);
    // Redis has them before the companion knows.
    until("it knows", SOON, || {
        companion.metric("caracal_feed_audit_queue_events") == 0.0
    });
    redis.kill();
    accepted(&companion, &events(50..300));
    until("it is counted", SOON, || {
        companion.metric("caracal_feed_audit_delivery_failures_total") > 0.0
    });
    assert_eq!(companion.metric("caracal_feed_audit_queue_events"), 250.0);
    until("the oldest gets old", SOON, || {
        companion.metric("caracal_feed_audit_oldest_age_seconds") >= 1.0
    });
    let kept = companion.get("/v1/audit/recent?after=0&max=1000").body;
    // A restart meanwhile changes nothing, nor does one that was killed.
    assert_eq!(companion.stop(), Some(0));
    companion.start();
    assert_eq!(companion.metric("caracal_feed_audit_queue_events"), 250.0);
    companion.kill();
    companion.start();
    accepted(&companion, &events(300..400));
    redis.restart();
    let arrived = until_arrived(&redis, 400);
    assert_eq!(ids(&arrived), (0..400).map(id).collect::<Vec<_>>());
    // Byte for byte as they were made.
    let kept = String::from_utf8(kept).unwrap();
    for stored in &arrived[..300] {
        assert!(kept.contains(std::str::from_utf8(&stored.data).unwrap()));
    }
}

/// Redis hangs, and has done what was asked by the time it is asked again.
#[test]
fn what_is_delivered_twice_is_the_same() {
    let redis = Redis::default();
    let companion = audited(&redis.url(), &folder("audit")).started();
    accepted(&companion, &events(0..10));
    until_arrived(&redis, 10);
    let mut sleeping = redis.connection();
    let sleeper = std::thread::spawn(move || {
        redis::cmd("DEBUG")
            .arg("SLEEP")
            .arg("5")
            .exec(&mut sleeping)
    });
    std::thread::sleep(Duration::from_millis(300));
    accepted(&companion, &events(10..20));
    drop(sleeper.join().unwrap());
    let mut first: Vec<Stored> = Vec::new();
    for stored in until_arrived(&redis, 20) {
        match first.iter().find(|known| known.id() == stored.id()) {
            Some(known) => assert_eq!(*known, stored),
            None => first.push(stored),
        }
    }
    assert_eq!(ids(&first), (0..20).map(id).collect::<Vec<_>>());
}

/// Somebody has put something else at the stream's key: the companion is ready all the same.
#[test]
fn a_redis_that_does_not_take_them_leaves_the_companion_ready() {
    let redis = Redis::default();
    let _: String = redis.ask(&["SET", STREAM, "x"]);
    let companion = audited(&redis.url(), &folder("audit")).started();
    accepted(&companion, &events(0..10));
    until("it is counted", SOON, || {
        companion.metric("caracal_feed_audit_delivery_failures_total") > 1.0
    });
    assert!(companion.is_ready());
    assert!(companion.log().contains("audit events are not delivered"));
    let _: usize = redis.ask(&["DEL", STREAM]);
    assert_eq!(
        ids(&until_arrived(&redis, 10)),
        (0..10).map(id).collect::<Vec<_>>()
    );
}

/// A Redis without memory takes all of a batch or nothing, so the order stays.
#[test]
fn a_full_redis_is_waited_for() {
    let redis = Redis::default();
    let companion = audited(&redis.url(), &folder("audit")).started();
    let set = |value: &str| -> String { redis.ask(&["CONFIG", "SET", "maxmemory", value]) };
    set("1");
    accepted(&companion, &events(0..600)[..500]);
    accepted(&companion, &events(500..600));
    until("it is counted", SOON, || {
        companion.metric("caracal_feed_audit_delivery_failures_total") > 1.0
    });
    set("0");
    assert_eq!(
        ids(&until_arrived(&redis, 600)),
        (0..600).map(id).collect::<Vec<_>>()
    );
}

#[test]
fn in_a_cluster_they_go_to_the_master_of_their_stream() {
    let cluster = caracal_tests::redis_topology::Cluster::default();
    let companion = cluster
        .companion()
        .with(&["--audit-dir", folder("audit").to_str().unwrap()])
        .environment("AUDIT_HMAC_KEY", KEY)
        .token(TOKEN)
        .started();
    accepted(&companion, &events(0..100));
    let owner = cluster.owner(STREAM).unwrap();
    until("they arrive", SOON, || {
        cluster.nodes[owner].ask::<usize>(&["XLEN", STREAM]) == 100
    });
}
