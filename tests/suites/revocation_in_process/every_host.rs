//! What holds in every host.

use caracal_tests::host::Level;
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
    a_companion_that_forgot_un_revokes_nobody: envoy = ENVOY kong = KONG apisix = APISIX,
    an_expired_anchor_leaves: envoy = ENVOY kong = KONG,
    over_capacity_everything_is_refused_until_it_fits: envoy = ENVOY kong = KONG,
    a_crowd_of_anchors_is_warned_of_once: envoy = ENVOY kong = KONG,
    where_life_is_bounded_an_anchor_leaves_early: envoy = ENVOY kong = KONG,
    a_log_of_expired_anchors_is_replaced_and_nobody_is_admitted_meanwhile: envoy = ENVOY kong = KONG,
    a_token_is_sent_and_a_wrong_one_is_named_and_not_shown: envoy = ENVOY kong = KONG apisix = APISIX,
    clocks_that_jump_change_nothing_about_revocation: envoy = ENVOY kong = KONG apisix = APISIX,
    a_page_that_is_none_confirms_nothing: envoy = ENVOY kong = KONG apisix = APISIX,
    a_host_call_that_fails_never_admits_a_revoked_mandate: envoy = ENVOY kong = KONG apisix = APISIX,
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
        "not asked of"
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
    let gone = proxy.metric_value("caracal_feed_polls_total.result=gone");
    let vms = [(ENVOY, 1), (KONG, 2), (APISIX, 0)];
    assert!(vms.contains(&(on, gone)), "{gone}");
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

fn an_expired_anchor_leaves(on: On) {
    let world = World::new(on);
    world.companion.borrow().revoke_for("sid-1", 3);
    world.revoke("r-1");
    let mut proxy = start(&world, json!({}));
    assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
    proxy.advance(Duration::from_secs(10));
    assert_eq!(judged(&world, &mut proxy, json!({})), admitted());
    assert_eq!(judged(&world, &mut proxy, json!({"sid": "r-1"})), revoked());
    assert_eq!(proxy.metric_value("caracal_revocation_anchors"), 1);
}

fn over_capacity_everything_is_refused_until_it_fits(on: On) {
    let world = World::new(on);
    for n in 0..10 {
        world.companion.borrow().revoke_for(&format!("x-{n}"), 60);
    }
    let mut proxy = start(&world, json!({"limits": {"max_anchors": 10}}));
    assert_eq!(judged(&world, &mut proxy, json!({})), admitted());
    world.companion.borrow().revoke_for("one-more", 60);
    proxy.advance(SOON);
    assert_eq!(judged(&world, &mut proxy, json!({})), unavailable());
    assert!(proxy.logged(Level::Error, "limits.max_anchors"));
    let open = proxy.request(0, Request::get("/open"));
    assert_eq!(outcome(&proxy, open), admitted());
    // The companion's state gets smaller; theirs expires here too.
    let smaller = InProcess::default();
    smaller.revoke("sid-1");
    *world.companion.borrow_mut() = smaller;
    proxy.advance(Duration::from_secs(110));
    assert_eq!(
        judged(&world, &mut proxy, json!({"sid": "free"})),
        admitted()
    );
    assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
}

fn a_crowd_of_anchors_is_warned_of_once(on: On) {
    let world = World::new(on);
    for n in 0..8 {
        world.revoke(&format!("x-{n}"));
    }
    let mut proxy = start(&world, json!({"limits": {"max_anchors": 10}}));
    let warnings = |proxy: &Proxy| {
        let lines = proxy.logs().iter();
        let warnings = lines.filter(|line| line.text.contains("beyond 10 (limits.max_anchors)"));
        warnings.map(|line| line.level).collect::<Vec<_>>()
    };
    assert_eq!(warnings(&proxy), [], "four fifths are no crowd");
    for n in 8..10 {
        world.revoke(&format!("x-{n}"));
        proxy.advance(SOON);
    }
    assert_eq!(judged(&world, &mut proxy, json!({})), admitted());
    // On Kong each worker holds its own, and says it of its own.
    let expected = if on == ENVOY { 1 } else { 2 };
    assert_eq!(warnings(&proxy), vec![Level::Warn; expected]);
}

fn where_life_is_bounded_an_anchor_leaves_early(on: On) {
    let world = World::new(on);
    world.revoke("sid-1");
    let limits = json!({"limits": {"max_lifetime_s": 60}, "clock_skew_s": 30});
    let mut proxy = start(&world, limits);
    let short = |exp: u64| json!({"exp": START + exp, "iat": START, "sid": "sid-1"});
    assert_eq!(judged(&world, &mut proxy, short(60)), revoked());
    let (status, error) = judged(&world, &mut proxy, short(61));
    assert_eq!((status, error.as_str()), (401, "invalid_token"));
    proxy.advance(Duration::from_secs(118));
    let held = |proxy: &Proxy| proxy.metric_value("caracal_revocation_anchors");
    assert_eq!(
        held(&proxy),
        1,
        "as long as a mandate may live, by any clock"
    );
    proxy.advance(Duration::from_secs(20));
    assert_eq!(held(&proxy), 0);
}

/// More expires than lives: the log is written anew without it.
fn a_log_of_expired_anchors_is_replaced_and_nobody_is_admitted_meanwhile(on: On) {
    let world = World::new(on);
    world.revoke("sid-1");
    for n in 0..20_000 {
        world.companion.borrow().revoke_for(&format!("x-{n}"), 2);
    }
    for n in 0..5_000 {
        world.revoke(&format!("long-{n}"));
    }
    let mut proxy = start(&world, json!({}));
    let head = |proxy: &Proxy| {
        let shared = proxy.shared_data();
        let mut heads = shared
            .iter()
            .filter(|(k, _)| k.ends_with(b"/revocation/head"));
        let (bytes, _) = heads.next().unwrap().1;
        caracal_mandate::revocation::head::Head::decode(bytes).unwrap()
    };
    proxy.advance(Duration::from_secs(1));
    if on == ENVOY {
        assert_eq!(head(&proxy).len, 25_001);
    }
    for _ in 0..300 {
        proxy.advance(Duration::from_millis(30));
        assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
        assert_eq!(
            judged(&world, &mut proxy, json!({"sid": "free"})),
            admitted()
        );
    }
    if on == ENVOY {
        assert_eq!(head(&proxy).len, 5_001);
        assert_ne!(head(&proxy).prev_image, 0);
    }
    proxy.restart_worker(1).unwrap();
    assert_eq!(
        judged(&world, &mut proxy, json!({"sid": "long-4999"})),
        revoked()
    );
    world.revoke("later");
    proxy.advance(SOON);
    assert_eq!(
        judged(&world, &mut proxy, json!({"sid": "later"})),
        revoked()
    );
    proxy.assert_clean();
}

fn a_token_is_sent_and_a_wrong_one_is_named_and_not_shown(on: On) {
    let world = World::new(on);
    *world.companion.borrow_mut() = InProcess::new(Some("right-token"));
    let with = |token: &str| {
        let mut feed = feed();
        feed["token"] = json!(token);
        json!({ "revocation": feed })
    };
    let mut proxy = start(&world, with("right-token"));
    assert_eq!(judged(&world, &mut proxy, json!({})), admitted());
    let mut proxy = start(&world, with("wrong-token"));
    assert_eq!(judged(&world, &mut proxy, json!({})), unavailable());
    assert!(proxy.logged(Level::Error, "revocation.token"));
    for line in proxy.logs() {
        assert!(!line.text.contains("wrong-token"), "{}", line.text);
    }
    for key in proxy.shared_data().keys() {
        assert!(!String::from_utf8_lossy(key).contains("wrong-token"));
    }
}

fn clocks_that_jump_change_nothing_about_revocation(on: On) {
    let world = World::new(on);
    world.revoke("sid-1");
    let mut proxy = start(&world, json!({}));
    for jump in [-400_000, 700_000] {
        proxy.jump_wall(jump);
        proxy.advance(SOON);
        let (status, _) = judged(&world, &mut proxy, json!({}));
        assert_eq!(status, 401);
    }
    proxy.jump_wall(-300_000);
    assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
    assert_eq!(
        judged(&world, &mut proxy, json!({"sid": "free"})),
        admitted()
    );
}

/// Pages that lie: nothing of them counts, and the state gets old.
fn a_page_that_is_none_confirms_nothing(on: On) {
    let page = |entries: Value, more: bool| json!({"generation": "g", "head": 5, "confirmed_age_ms": 0, "entries": entries, "more": more});
    let bad = [
        Answer::with(200, "{}"),
        Answer::with(200, vec![0xff; 100]),
        Answer::with(200, vec![b' '; 2 * 1024 * 1024]),
        Answer::TooBig,
        Answer::with(500, ""),
        Answer::json(&page(json!([]), true)),
        Answer::json(&page(json!([{"seq": 9, "anchor": "a", "ttl_s": 1}]), false)),
        Answer::json(&page(
            json!([{"seq": 2, "anchor": "a", "ttl_s": 1}, {"seq": 1, "anchor": "b", "ttl_s": 1}]),
            false,
        )),
        Answer::DispatchFails(2),
    ];
    for answer in bad {
        let world = World::new(on);
        world.say(Some(answer.clone()));
        let mut proxy = start(&world, json!({}));
        if matches!(answer, Answer::DispatchFails(_)) {
            // That is tried again for a while, as at a start.
            proxy.advance(Duration::from_secs(6));
        }
        assert_eq!(
            judged(&world, &mut proxy, json!({})),
            unavailable(),
            "{answer:?}"
        );
    }
}

/// Whatever status a host call returns while the state is read, polled and
/// shared, a revoked mandate is refused, and the filter lives on.
fn a_host_call_that_fails_never_admits_a_revoked_mandate(on: On) {
    for failing in [
        "proxy_get_shared_data",
        "proxy_set_shared_data",
        "proxy_get_buffer_bytes",
        "proxy_get_header_map_value",
        "proxy_record_metric",
        "proxy_log",
    ] {
        // There a metric that fails is a trap, whatever the filter does.
        if on == KONG && failing.ends_with("metric") {
            continue;
        }
        for code in [1, 2, 3, 7, 8, 10, 12] {
            let world = World::new(on);
            world.revoke("sid-1");
            let mut proxy = start(&world, json!({}));
            proxy.on_host_call(move |call| {
                (call.name == failing && call.nth % 3 != 0).then_some(code)
            });
            world.revoke("later");
            for round in 0..40 {
                let stream = send(&mut proxy, round % 2, json!({}));
                assert!(proxy.upstream(stream).is_none(), "{failing} {code}");
                proxy.advance(Duration::from_millis(60));
            }
            proxy.no_faults();
            proxy.advance(Duration::from_secs(8));
            assert_eq!(
                judged(&world, &mut proxy, json!({})),
                revoked(),
                "{failing} {code}"
            );
            assert_eq!(
                judged(&world, &mut proxy, json!({"sid": "later"})),
                revoked(),
                "{failing} {code}"
            );
            assert_eq!(
                judged(&world, &mut proxy, json!({"sid": "free"})),
                admitted(),
                "{failing} {code}"
            );
        }
    }
}
