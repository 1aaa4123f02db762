//! What holds in every host.

use caracal_tests::hosts::{APISIX, KONG};
use caracal_tests::mint::ZONE;

use super::*;

/// The tests in each host.
macro_rules! in_each {
    ($($test:ident: $($host:ident = $on:ident)*,)*) => {
        $(mod $test {
            $(#[test]
            fn $host() {
                super::$test(super::$on);
            })*
        })*
    };
}
pub(super) use in_each;

in_each! {
    each_of_the_four_anchors_refuses_in_every_worker_and_nothing_else_does: envoy = ENVOY kong = KONG apisix = APISIX,
    each_anchor_refuses_where_all_four_are_there: envoy = ENVOY kong = KONG apisix = APISIX,
    a_mandate_does_not_outlive_its_key: envoy = ENVOY kong = KONG apisix = APISIX,
    a_cached_verdict_does_not_outlive_a_revocation: envoy = ENVOY kong = KONG apisix = APISIX,
    an_epoch_above_the_mandates_makes_it_stale: envoy = ENVOY kong = KONG apisix = APISIX,
    without_a_companion_only_what_needs_it_is_refused: envoy = ENVOY kong = KONG apisix = APISIX,
    state_that_is_too_old_refuses_and_recovers_by_itself: envoy = ENVOY kong = KONG apisix = APISIX,
    a_companion_out_of_touch_does_not_look_fresh: envoy = ENVOY kong = KONG apisix = APISIX,
    a_new_companion_never_lets_a_revoked_mandate_through: envoy = ENVOY kong = KONG apisix = APISIX,
    companions_without_positions_still_serve: envoy = ENVOY kong = KONG apisix = APISIX,
    a_companion_that_forgot_un_revokes_nobody: envoy = ENVOY kong = KONG apisix = APISIX,
}

fn each_of_the_four_anchors_refuses_in_every_worker_and_nothing_else_does(on: On) {
    let world = World::new(on);
    let mut proxy = start(&world, json!({}));
    assert_eq!(judged(&world, &mut proxy, json!({})), admitted());
    for anchor in ["s-1", "r-1", "a-1", "d-1", "src-1", "app-x"] {
        world.revoke(anchor);
    }
    proxy.advance(SOON);
    for claims in [
        json!({"sid": "s-1"}),
        json!({"root_sid": "r-1"}),
        json!({"agent_session_id": "a-1"}),
        json!({"delegation_edge_id": "d-1"}),
        // One namespace: whatever claim carries it.
        json!({"sid": "d-1"}),
        json!({"agent_session_id": "s-1"}),
    ] {
        assert_eq!(
            judged(&world, &mut proxy, claims.clone()),
            revoked(),
            "{claims}"
        );
    }
    for claims in [
        json!({}),
        json!({"source_session_id": "src-1", "target_session_id": "src-1"}),
        json!({"delegation_chain": [{"application_id": "app-x", "agent_session_id": "a-1"}]}),
        json!({"jti": "s-1"}),
        json!({"agent_session_id": ""}),
    ] {
        assert_eq!(
            judged(&world, &mut proxy, claims.clone()),
            admitted(),
            "{claims}"
        );
    }
    proxy.assert_clean();
}

fn each_anchor_refuses_where_all_four_are_there(on: On) {
    let world = World::new(on);
    let mut proxy = start(&world, json!({}));
    let anchors = ["sid", "root_sid", "agent_session_id", "delegation_edge_id"];
    for revoked_one in anchors {
        for is_warm in [true, false] {
            let id = |name: &str| format!("{name}-of-{revoked_one}-{is_warm}");
            let mut claims = json!({});
            for name in anchors {
                claims[name] = json!(id(name));
            }
            if is_warm {
                assert_eq!(judged(&world, &mut proxy, claims.clone()), admitted());
            }
            world.revoke(&id(revoked_one));
            // Longer than what APISIX was told is believed.
            proxy.advance(Duration::from_secs(6));
            assert_eq!(
                judged(&world, &mut proxy, claims),
                revoked(),
                "{revoked_one}, warm: {is_warm}"
            );
        }
    }
    proxy.assert_clean();
}

/// Its key leaves the zone, and then its `kid` comes back with another key.
fn a_mandate_does_not_outlive_its_key(on: On) {
    let world = World::new(on);
    let [first, second] = [Key::new("k1", 1), Key::new("k2", 2)];
    let others = Key::new("k1", 3);
    *world.keys.borrow_mut() = vec![first.clone(), second.clone()];
    let mut proxy = start(&world, json!({}));
    let mut of = |key: &Key, jti: &str| {
        let claims = json!({"exp": START + 1_000_000, "jti": jti});
        let request = Request::get("/").bearer(key.mandate(START, claims));
        let both = [0, 1].map(|worker| {
            let last = *on.send(&mut proxy, worker, &request).last().unwrap();
            outcome(&proxy, last)
        });
        assert_eq!(both[0], both[1]);
        let [one, _] = both;
        // A key set lives 300 s.
        if jti == "wait" {
            proxy.advance(Duration::from_secs(331));
        }
        one
    };
    let invalid = (401, "invalid_token".to_owned());
    for _ in 0..2 {
        assert_eq!(of(&first, "warm"), admitted());
        assert_eq!(of(&second, "other"), admitted());
    }
    *world.keys.borrow_mut() = vec![second.clone()];
    of(&second, "wait");
    assert_eq!(of(&second, "other"), admitted());
    for jti in ["warm", "cold", "warm"] {
        assert_eq!(of(&first, jti), invalid, "it has left: {jti}");
    }
    *world.keys.borrow_mut() = vec![others.clone(), second.clone()];
    of(&second, "wait");
    assert_eq!(of(&others, "new"), admitted());
    for jti in ["warm", "cold", "cold again"] {
        assert_eq!(of(&first, jti), invalid, "its kid has another key: {jti}");
    }
    assert_eq!(of(&second, "other"), admitted());
}

fn a_cached_verdict_does_not_outlive_a_revocation(on: On) {
    let world = World::new(on);
    let mut proxy = start(&world, json!({}));
    for _ in 0..3 {
        assert_eq!(judged(&world, &mut proxy, json!({})), admitted());
    }
    world.revoke("sid-1");
    proxy.advance(SOON);
    assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
    proxy.advance(Duration::from_secs(1));
    let anchors = proxy.metric_value("caracal_revocation_anchors");
    assert_eq!(anchors, u64::from(on != APISIX), "APISIX has no metrics");
}

fn an_epoch_above_the_mandates_makes_it_stale(on: On) {
    let world = World::new(on);
    let mut proxy = start(&world, json!({}));
    let with = |epoch: u64| json!({"delegation_graph_epoch": epoch});
    assert_eq!(judged(&world, &mut proxy, with(0)), admitted());
    world.companion.borrow().raise("another-zone", 9);
    world.companion.borrow().raise(ZONE, 5);
    proxy.advance(SOON);
    let stale = (401, "delegation_stale".to_owned());
    assert_eq!(judged(&world, &mut proxy, with(4)), stale);
    assert_eq!(judged(&world, &mut proxy, with(0)), stale);
    assert_eq!(judged(&world, &mut proxy, with(5)), admitted());
    assert_eq!(judged(&world, &mut proxy, with(6)), admitted());
    assert_eq!(judged(&world, &mut proxy, json!({})), admitted());
    world.companion.borrow().raise(ZONE, 3);
    proxy.advance(SOON);
    assert_eq!(
        judged(&world, &mut proxy, with(4)),
        stale,
        "it never goes back"
    );
}

fn without_a_companion_only_what_needs_it_is_refused(on: On) {
    let world = World::new(on);
    world.say(Some(Answer::Refused));
    let mut proxy = start(&world, json!({"required_scopes": ["billing:read"]}));
    assert_eq!(judged(&world, &mut proxy, json!({})), unavailable());
    for (claims, error, status) in [
        (json!({"scope": "other"}), "insufficient_scope", 403),
        (json!({"zone_id": "other"}), "invalid_zone", 401),
        (json!({"exp": START - 100}), "invalid_token", 401),
        (json!({"exp": START - 10}), "invalid_token", 401),
    ] {
        assert_eq!(
            judged(&world, &mut proxy, claims),
            (status, error.to_owned())
        );
    }
    let bare = proxy.request(0, Request::get("/"));
    assert_eq!(outcome(&proxy, bare).1, "missing_token");
    let open = proxy.request(0, Request::get("/open/x"));
    assert_eq!(outcome(&proxy, open), admitted());
    let logged = |what: &str| {
        let said = |text: &str| text.contains(what) && text.contains(on.feed());
        let lines = proxy.logs().iter().filter(|line| said(&line.text));
        lines.count()
    };
    let vms = if on == ENVOY { 1 } else { 2 };
    let failed = if on == APISIX {
        "lookup failed at"
    } else {
        "not read from"
    };
    assert_eq!(logged(failed), vms, "once for all that share, or each");
    assert_eq!(logged("REFUSING"), vms);
    world.say(None);
    proxy.advance(Duration::from_secs(6));
    assert_eq!(judged(&world, &mut proxy, json!({})), admitted());
}

fn state_that_is_too_old_refuses_and_recovers_by_itself(on: On) {
    let world = World::new(on);
    let mut proxy = start(&world, json!({}));
    assert_eq!(judged(&world, &mut proxy, json!({})), admitted());
    assert_eq!(judged(&world, &mut proxy, json!({})), admitted());
    // Where requests wait for the answer, the wait counts.
    let gone = if on == APISIX {
        Answer::Refused
    } else {
        Answer::TimesOut
    };
    world.say(Some(gone));
    proxy.advance(Duration::from_millis(4_500));
    assert_eq!(judged(&world, &mut proxy, json!({})), admitted());
    proxy.advance(Duration::from_secs(1));
    assert_eq!(judged(&world, &mut proxy, json!({})), unavailable());
    world.say(None);
    proxy.advance(Duration::from_secs(8));
    assert_eq!(judged(&world, &mut proxy, json!({})), admitted());
}

/// The companion lives and is cut off from Redis: its answers come, and get older.
fn a_companion_out_of_touch_does_not_look_fresh(on: On) {
    let world = World::new(on);
    let mut proxy = start(&world, json!({}));
    let (_, body) = world.companion.borrow().get("/v1/snapshot", None);
    let mut page: Value = serde_json::from_slice(&body).unwrap();
    if on == APISIX {
        page = json!({"revoked": [], "epoch": 0});
    }
    for (age, expected) in [(4_000, admitted()), (6_000, unavailable()), (0, admitted())] {
        page["confirmed_age_ms"] = json!(age);
        world.say(Some(Answer::json(&page).after(Duration::from_millis(50))));
        proxy.advance(Duration::from_secs(if age > 5_000 { 6 } else { 1 }));
        assert_eq!(judged(&world, &mut proxy, json!({})), expected, "{age}");
    }
}

fn a_new_companion_never_lets_a_revoked_mandate_through(on: On) {
    let world = World::new(on);
    world.revoke("sid-1");
    let mut proxy = start(&world, json!({}));
    assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
    let other = InProcess::default();
    other.revoke("sid-1");
    for n in 0..2_500 {
        other.revoke(&format!("x-{n}"));
    }
    *world.companion.borrow_mut() = other;
    for _ in 0..60 {
        proxy.advance(Duration::from_millis(20));
        assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
        assert_eq!(
            judged(&world, &mut proxy, json!({"sid": "free"})),
            admitted()
        );
    }
    assert_eq!(
        judged(&world, &mut proxy, json!({"sid": "x-2499"})),
        revoked()
    );
    // Where the edge is, it says in a form that every companion understands.
    let gone = proxy.metric_value("caracal_feed_polls_total.result=gone");
    assert_eq!(gone, 0);
    proxy.assert_clean();
}

/// The same of companions that do not know positions: each change of them costs a snapshot,
/// and nothing is admitted meanwhile. Then they are upgraded, one after the other.
fn companions_without_positions_still_serve(on: On) {
    let world = World::new(on);
    world.revoke("sid-1");
    world.companion.borrow_mut().is_old = true;
    let mut proxy = start(&world, json!({}));
    assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
    let gone = |proxy: &Proxy| proxy.metric_value("caracal_feed_polls_total.result=gone");
    for (n, is_old) in [(1, true), (2, false), (2, false), (3, true)] {
        let sid = format!("s-{n}-{is_old}");
        let mut other = InProcess::default();
        other.is_old = is_old;
        for anchor in ["sid-1".to_owned(), sid.clone()] {
            other.revoke(&anchor);
        }
        for n in 0..1_500 {
            other.revoke(&format!("x-{n}"));
        }
        *world.companion.borrow_mut() = other;
        for _ in 0..100 {
            proxy.advance(Duration::from_millis(20));
            assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
            let free = judged(&world, &mut proxy, json!({"sid": "free"}));
            assert_eq!(free, admitted());
        }
        let known = [&sid, "x-1499"].map(|sid| judged(&world, &mut proxy, json!({"sid": sid})));
        assert_eq!(known, [revoked(), revoked()]);
        let vms = [(ENVOY, n), (KONG, 2 * n), (APISIX, 0)];
        let gone = gone(&proxy);
        assert!(vms.contains(&(on, gone)), "{gone} after {n}");
    }
    proxy.assert_clean();
}

/// A companion that has forgotten (in development, without a file): what was
/// refused stays refused here.
fn a_companion_that_forgot_un_revokes_nobody(on: On) {
    let world = World::new(on);
    world.revoke("sid-1");
    let mut proxy = start(&world, json!({}));
    assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
    *world.companion.borrow_mut() = InProcess::default();
    proxy.advance(Duration::from_secs(2));
    assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
    // Elsewhere a new worker knows what the companion does.
    if on == ENVOY {
        proxy.restart_worker(0).unwrap();
        proxy.advance(SOON);
        assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
    }
}
