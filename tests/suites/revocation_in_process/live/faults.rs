//! What must not keep a stream open whose authority has ended, and must not end another.

use super::*;

/// Changes all the time do not keep the last streams from being judged.
#[test]
fn the_last_of_many_streams_ends_in_spite_of_other_changes() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    for _ in 0..2_000 {
        send(&mut proxy, 0, json!({"sid": "others"}));
    }
    let last = event_stream(&mut proxy, 0, json!({"sid": "s1"}));
    proxy.advance(SOON);
    world.revoke("s1");
    for n in 0..40 {
        world.revoke(&format!("unrelated-{n}"));
        proxy.advance(Duration::from_millis(10));
    }
    is_cut(&proxy, last, "caracal_session_revoked");
    proxy.assert_clean();
}

/// A stream that may outlive its mandate still ends when it is revoked, also after that.
#[test]
fn a_stream_that_outlives_its_mandate_ends_when_it_is_revoked() {
    let world = World::new(ENVOY);
    let streams = json!({"end_when_revoked": true, "end_when_expired": false});
    let mut proxy = start(&world, json!({"streams": streams}));
    let stream = event_stream(&mut proxy, 0, json!({"sid": "s1", "exp": START + 10}));
    proxy.advance(Duration::from_secs(600));
    goes_on(&mut proxy, stream);
    world.revoke("s1");
    proxy.advance(SOON);
    assert!(matches!(proxy.outcome(stream), Outcome::Cut { .. }));
    assert_eq!(cuts(&proxy, "session_revoked"), 1);
}

/// One that is not ended when it is revoked still ends when its mandate expires.
#[test]
fn a_stream_that_outlives_its_session_ends_when_it_expires() {
    let world = World::new(ENVOY);
    let streams = json!({"end_when_revoked": false, "end_when_expired": true});
    let mut proxy = start(&world, json!({"streams": streams}));
    let stream = event_stream(&mut proxy, 0, json!({"sid": "s1", "exp": START + 10}));
    world.revoke("s1");
    proxy.advance(Duration::from_secs(5));
    goes_on(&mut proxy, stream);
    proxy.advance(Duration::from_secs(6));
    assert!(matches!(proxy.outcome(stream), Outcome::Cut { .. }));
    assert_eq!(cuts(&proxy, "expired"), 1);
}

/// While the STS is away, what is revoked and what has expired ends all the same.
#[test]
fn an_outage_of_the_sts_hides_neither_revocation_nor_expiry() {
    let world = World::new(ENVOY);
    let jwks = json!({"upstream": "sts", "ttl_s": 10, "max_stale_s": 0});
    let mut proxy = start(&world, json!({"jwks": jwks}));
    let long = json!({"sid": "s1", "exp": START + 1_000});
    let revoked = event_stream(&mut proxy, 0, long);
    let expired = event_stream(&mut proxy, 0, json!({"sid": "s2", "exp": START + 60}));
    let stays = event_stream(&mut proxy, 0, json!({"sid": "s3", "exp": START + 1_000}));
    let world_there = world.clone();
    proxy.on_callout(move |callout| match world_there.on.is_sts(callout) {
        true => Answer::Refused,
        false => world_there.answer(callout),
    });
    proxy.advance(Duration::from_secs(30));
    assert_eq!(judged(&world, &mut proxy, json!({})).0, 503);
    goes_on(&mut proxy, revoked);
    world.revoke("s1");
    proxy.advance(Duration::from_secs(2));
    assert!(matches!(proxy.outcome(revoked), Outcome::Cut { .. }));
    proxy.advance(Duration::from_secs(40));
    assert!(matches!(proxy.outcome(expired), Outcome::Cut { .. }));
    goes_on(&mut proxy, stays);
}

/// A clock that is set back ends no stream.
#[test]
fn a_clock_that_is_set_back_ends_no_stream() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let stream = event_stream(&mut proxy, 0, json!({"sid": "s1"}));
    proxy.jump_wall(-3_600);
    world.revoke("other");
    proxy.advance(Duration::from_secs(2));
    goes_on(&mut proxy, stream);
    proxy.assert_clean();
}

/// A reply that the proxy does not take is sent again, and the place is free in the end.
#[test]
fn a_stream_that_could_not_be_ended_is_ended_soon() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({"limits": {"max_streams": 1}}));
    for call in ["proxy_send_local_response", "proxy_set_effective_context"] {
        let sid = call.to_owned();
        let stream = event_stream(&mut proxy, 0, json!({"sid": sid}));
        proxy.on_host_call(move |one| (one.name == call).then_some(10));
        world.revoke(&sid);
        proxy.advance(SOON);
        assert!(!matches!(proxy.outcome(stream), Outcome::Cut { .. }));
        proxy.no_faults();
        proxy.advance(Duration::from_secs(2));
        is_cut(&proxy, stream, "caracal_session_revoked");
    }
    assert_eq!(cuts(&proxy, "session_revoked"), 2, "each is counted once");
    // A client that leaves in between frees its place too.
    let stream = event_stream(&mut proxy, 0, json!({"sid": "leaves"}));
    proxy.on_host_call(|one| (one.name == "proxy_send_local_response").then_some(10));
    world.revoke("leaves");
    proxy.advance(SOON);
    proxy.cancel(stream);
    proxy.no_faults();
    event_stream(&mut proxy, 0, json!({"sid": "next"}));
    proxy.assert_clean();
}
