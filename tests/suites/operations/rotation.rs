//! Keys and tokens that are replaced while everything runs. Each test is the order of steps
//! that docs/operate.md gives, or what happens in another order.

use std::path::Path;

use caracal_feed::event::{Fields, HmacKey, Stream};
use caracal_tests::mint::{AUDIENCE, Key, ZONE, key_set, now};
use caracal_tests::processes::{GATEWAY_KEY, Sts};
use caracal_tests::servers::{Reply, Server};

use super::consumer::{self, stored};
use super::*;

const NEW: &str = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";

/// Revokes a session, signed.
fn revoke_signed(redis: &Redis, sid: &str, key: &str) {
    let mut fields = Fields::from([(b"session_id".to_vec(), sid.as_bytes().to_vec())]);
    HmacKey::from_hex(key)
        .unwrap()
        .sign(Stream::Revocations, &mut fields);
    let mut command = redis::cmd("XADD");
    command.arg(SESSIONS).arg("*");
    for (name, value) in &fields {
        command.arg(name).arg(value);
    }
    let _: String = command.query(&mut redis.connection()).unwrap();
}

fn dead(redis: &Redis) -> usize {
    redis.ask(&["XLEN", "caracal.sessions.revoke.dead"])
}

fn with_key(redis: &Redis, key: Option<&str>) -> Companion {
    let companion = Companion::of(&redis.url());
    match key {
        Some(key) => companion
            .with(&["--require-signature"])
            .environment("STREAMS_HMAC_KEY", key),
        None => companion,
    }
}

/// The publisher first, then the companion: what was revoked in between takes effect late, and
/// nothing is lost.
#[test]
fn streams_the_publisher_first_delays_and_loses_nothing() {
    let redis = Redis::default();
    let mut companion = with_key(&redis, Some(KEY)).started();
    revoke_signed(&redis, "before", KEY);
    until("before", SOON, || companion.has_revoked("before"));
    revoke_signed(&redis, "between", NEW);
    until("it is a dead letter", SOON, || dead(&redis) == 1);
    assert!(!companion.has_revoked("between"));
    assert_eq!(companion.stop(), Some(0));
    let companion = with_key(&redis, Some(NEW)).started();
    revoke_signed(&redis, "after", NEW);
    for sid in ["before", "between", "after"] {
        until(sid, SOON, || companion.has_revoked(sid));
    }
    // For connectors too.
    until("it is in the shared store", SOON, || {
        redis.ask::<bool>(&["EXISTS", "caracal:revoked:sessions:between"])
    });
}

/// The companion first: what is still signed with the old key is never taken.
#[test]
fn streams_the_companion_first_loses_revocations() {
    let redis = Redis::default();
    let mut old = with_key(&redis, Some(KEY)).started();
    assert_eq!(old.stop(), Some(0));
    let companion = with_key(&redis, Some(NEW)).started();
    revoke_signed(&redis, "lost", KEY);
    until("it is a dead letter", SOON, || dead(&redis) == 1);
    revoke_signed(&redis, "after", NEW);
    until("after", SOON, || companion.has_revoked("after"));
    assert!(!companion.has_revoked("lost"));
}

/// A companion without a key takes both for as long as the change lasts: no delay, no loss.
#[test]
fn streams_without_a_key_in_between_nothing_is_late() {
    let redis = Redis::default();
    let around = Around::default();
    let mut old = with_key(&redis, Some(KEY)).started();
    revoke_signed(&redis, "before", KEY);
    until("before", SOON, || old.has_revoked("before"));
    assert_eq!(old.stop(), Some(0));

    let mut open = with_key(&redis, None).started();
    let envoy = started(&around.setup(open.address, json!({})));
    let edge = envoy.listener(0);
    let is_revoked = |sid: &str| {
        let token = around.of_session(sid);
        until(sid, SOON, || all_are(edge, &token, 401));
    };
    revoke_signed(&redis, "old-key", KEY);
    revoke_signed(&redis, "new-key", NEW);
    for sid in ["before", "old-key", "new-key"] {
        is_revoked(sid);
    }
    until("the store has them", SOON, || {
        redis.ask::<bool>(&["EXISTS", "caracal:revoked:sessions:old-key"])
    });
    assert_eq!(open.stop(), Some(0));

    let closed = with_key(&redis, Some(NEW)).started();
    for sid in ["before", "old-key", "new-key"] {
        assert!(closed.has_revoked(sid), "{sid}");
    }
    assert_eq!(dead(&redis), 0);
}

fn audited(redis: &Redis, folder: &Path, key: &str) -> Companion {
    Companion::of(&redis.url())
        .with(&["--audit-dir", folder.to_str().unwrap()])
        .environment("AUDIT_HMAC_KEY", key)
        .token(TOKEN)
}

/// An event as an edge posts it.
#[track_caller]
pub(crate) fn post_event(companion: &Companion, number: u32) {
    let event = json!({
        "id": format!("01980000-0000-7000-8000-{number:012x}"), "occurred_at_us": now() * 1_000_000,
        "zone_id": ZONE, "event_type": "edge_resource_request", "request_id": format!("r-{number}"),
        "decision": "allow", "evaluation_status": "executed",
    });
    let answer = companion.post("/v1/audit", &json!({ "events": [event] }), None);
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// An event is signed once, when it is taken: one that waits keeps its signature. So the queue
/// has to be empty before the key changes.
#[test]
fn audit_what_waits_keeps_the_old_signature() {
    let mut redis = Redis::default();
    let folder = folder("audit");
    let mut companion = audited(&redis, &folder, KEY).started();
    post_event(&companion, 1);
    let length = |redis: &Redis| redis.ask::<usize>(&["XLEN", STREAM]);
    until("it is delivered", SOON, || length(&redis) == 1);
    let waiting = "caracal_feed_audit_queue_events";
    until("the queue is empty", SOON, || {
        companion.metric(waiting) == 0.0
    });
    redis.kill();
    post_event(&companion, 2);
    until("it waits", SOON, || companion.metric(waiting) == 1.0);
    assert_eq!(companion.stop(), Some(0));
    redis.restart();
    let companion = audited(&redis, &folder, NEW).started();
    post_event(&companion, 3);
    until("all are delivered", SOON, || length(&redis) == 3);
    let all = consumer::raw(&redis);
    // The consumer has one key, too: it would refuse the one that waited.
    for (fields, key) in all.iter().zip([KEY, KEY, NEW]) {
        stored(fields, key);
    }
}

fn exchanging(redis: &Redis, sts: &Sts, key: &str) -> Companion {
    Companion::of(&redis.url())
        .with(&["--gateway", "--sts-url", &sts.url()])
        .environment("GATEWAY_STS_HMAC_KEY", key)
        .started()
}

fn exchange(companion: &Companion, mandate: &str) -> Value {
    let question = json!({
        "mandate": mandate, "resource": AUDIENCE, "method": "GET", "path": "/invoices",
        "request_id": "r-1",
    });
    companion.post("/v1/exchange", &question, None).json()
}

/// With another key each request fails and its mandate is used up. With the companion stopped
/// none is, and it serves again with the new key.
#[test]
fn exchanges_the_companion_stops_before_the_key_changes() {
    let redis = Redis::default();
    let resources = json!({AUDIENCE: {
        "scopes": ["billing:read"], "upstream_url": "https://upstream.test", "decision": "allow",
    }});
    let sts = Sts::start(&[ZONE], &resources);
    let used = || redis.ask::<Vec<String>>(&["KEYS", "seen:jti:*"]).len();
    let mut other = exchanging(&redis, &sts, KEY);
    let mandate = sts.mandate(AUDIENCE);
    let mut answer = Value::Null;
    until("the exchange is ready", SOON, || {
        answer = exchange(&other, &mandate);
        answer["refused"]["cause"] != "redis"
    });
    assert_eq!(answer["refused"]["status"], 401, "{answer}");
    assert_eq!(used(), 1, "the mandate is used up");
    until("the log names the key", SOON, || {
        other.log().contains("GATEWAY_STS_HMAC_KEY")
    });
    assert_eq!(other.stop(), Some(0));

    let mandate = sts.mandate(AUDIENCE);
    let companion = exchanging(&redis, &sts, GATEWAY_KEY);
    until("it is exchanged", SOON, || {
        let answer = exchange(&companion, &mandate);
        answer["granted"].is_object() || answer["refused"]["cause"] != "redis"
    });
    assert_eq!(used(), 2);
    assert_eq!(sts.exchanges(), 1);
}

/// A second companion with the new token, and then a new configuration: nobody notices.
#[test]
fn the_companion_s_token_by_a_second_companion() {
    let redis = Redis::default();
    let around = Around::default();
    let with_token = |token: &str| Companion::of(&redis.url()).token(token).started();
    let (mut old, new) = (with_token("old-token"), with_token("new-token"));
    let setup = |cluster: &str, token: &str| {
        let feed = json!({
            "upstream": cluster, "token": token, "max_staleness_s": 30, "poll_interval_ms": 200,
        });
        let mut setup = around
            .setup(old.address, json!({ "revocation": feed }))
            .cluster("feed_new", new.address);
        setup.reloadable = true;
        setup
    };
    let (before, after) = (setup("feed", "old-token"), setup("feed_new", "new-token"));
    let envoy = started(&before);
    let edge = envoy.listener(0);
    let (good, revoked) = (around.of_session("good"), around.of_session("revoked"));
    until("admitted", SOON, || all_are(edge, &good, 200));
    revoke(&redis, "revoked");
    until("revoked", SOON, || all_are(edge, &revoked, 401));
    let traffic = Traffic::start(edge, &good, &revoked);
    traffic.go_on();
    reconfigure(&envoy, &after);
    traffic.go_on();
    // The old configuration is gone after the time to drain, and with it whoever asks the old
    // companion.
    until("only the new companion is asked", SOON, || {
        let waiting = |companion: &Companion| companion.metric("caracal_feed_connected_filters");
        let draining = envoy.stats("listener_manager.total_.*_draining");
        let mut kinds = draining.lines().peekable();
        let is_over = kinds.peek().is_some() && kinds.all(|kind| kind.ends_with(": 0"));
        is_over && waiting(&old) == 0.0 && waiting(&new) > 0.0
    });
    old.kill();
    revoke(&redis, "later");
    let later = around.of_session("later");
    until("later", SOON, || all_are(edge, &later, 401));
    traffic.was_judged_rightly();
}

/// The zone's key: first the STS serves both, then it signs with the new one, and much later it
/// serves the new one alone.
#[test]
fn the_sts_s_key_both_are_served_before_the_new_one_signs() {
    let keys = [Key::new("old", 1), Key::new("new", 2)];
    let served = Arc::new(Mutex::new(key_set(&[&keys[0]])));
    let shown = Arc::clone(&served);
    let sts = Server::start(move |_| Reply::json(&shown.lock().unwrap()));
    let upstream = Server::start(|_| Reply::new(200, "reached"));
    let settings = configuration(json!({"jwks": {"upstream": "sts", "ttl_s": 10}}));
    let setup = Setup::new([settings])
        .cluster("sts", sts.address())
        .cluster("upstream", upstream.address());
    let envoy = started(&setup);
    let edge = envoy.listener(0);
    let [old, new] = keys.each_ref().map(|key| key.mandate(now(), json!({})));
    until("the old key", SOON, || all_are(edge, &old, 200));
    *served.lock().unwrap() = key_set(&[&keys[0], &keys[1]]);
    // At once: an unknown key id makes the filter fetch the key set.
    assert!(all_are(edge, &new, 200));
    assert!(all_are(edge, &old, 200));
    *served.lock().unwrap() = key_set(&[&keys[1]]);
    until("the old key is gone", SOON * 2, || all_are(edge, &old, 401));
    assert!(all_are(edge, &new, 200));
}
