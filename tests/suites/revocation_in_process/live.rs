//! Requests under way end with the authority that admitted them, also silent ones (Envoy).

use super::*;

mod faults;
mod parting;

use caracal_tests::host::Level;

/// A round over a few requests takes one tick.
const TICK: Duration = Duration::from_millis(20);

fn cuts(proxy: &Proxy, reason: &str) -> u64 {
    proxy.metric_value(&format!("caracal_streams_cut_total.reason={reason}"))
}

/// An event stream of a mandate with these claims, of which the client has a first part.
fn event_stream(proxy: &mut Proxy, worker: usize, claims: Value) -> Stream {
    let stream = send(proxy, worker, claims);
    proxy.respond_open(stream, 200, [("content-type", "text/event-stream")]);
    proxy.respond_body(stream, "data: 1\n\n", false);
    assert_eq!(proxy.outcome(stream).status(), Some(200));
    stream
}

#[track_caller]
fn is_cut(proxy: &Proxy, stream: Stream, details: &str) {
    match proxy.outcome(stream) {
        Outcome::Cut {
            details: found,
            reply,
        } => {
            assert_eq!(found, details);
            assert_eq!(reply.unwrap().body, b"data: 1\n\n");
        }
        other => panic!("{other:?}"),
    }
    let error = details.strip_prefix("caracal_").unwrap();
    assert_eq!(
        proxy.filter_state_text(stream, "caracal_error"),
        Some(error)
    );
    assert_eq!(
        proxy.filter_state_text(stream, "caracal_decision"),
        Some("admitted")
    );
}

fn goes_on(proxy: &mut Proxy, stream: Stream) {
    proxy.respond_body(stream, "data: 2\n\n", false);
    assert!(
        !matches!(proxy.outcome(stream), Outcome::Cut { .. }),
        "it was cut"
    );
}

#[test]
fn each_anchor_ends_the_streams_that_have_it_and_no_others() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let claims = |sid: &str| {
        json!({
            "sid": sid, "root_sid": format!("root-{sid}"), "agent_session_id": format!("agent-{sid}"),
            "delegation_edge_id": format!("edge-{sid}"), "delegation_path": [format!("edge-{sid}")],
        })
    };
    let mut expected = 0;
    for anchor in ["s1", "root-s1", "agent-s1", "edge-s1"] {
        let anchor = format!("{anchor}-{expected}");
        let sid = format!("s1-{expected}");
        let streams = [0, 1].map(|worker| event_stream(&mut proxy, worker, claims(&sid)));
        let other = event_stream(&mut proxy, 0, claims("other"));
        proxy.advance(SOON);
        world.revoke(&anchor);
        proxy.advance(SOON);
        for stream in streams {
            is_cut(&proxy, stream, "caracal_session_revoked");
        }
        goes_on(&mut proxy, other);
        proxy.respond_body(other, "", true);
        expected += 1;
    }
    assert_eq!(cuts(&proxy, "session_revoked"), 8);
    proxy.assert_clean();
}

#[test]
fn an_epoch_that_overtakes_ends_streams() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let of = |epoch: u64| json!({"delegation_edge_id": "e", "delegation_path": ["e"], "delegation_graph_epoch": epoch});
    let old = event_stream(&mut proxy, 0, of(4));
    let new = event_stream(&mut proxy, 0, of(5));
    world.companion.borrow().raise("zone-1", 5);
    proxy.advance(SOON);
    is_cut(&proxy, old, "caracal_delegation_stale");
    goes_on(&mut proxy, new);
    assert_eq!(cuts(&proxy, "delegation_stale"), 1);
    proxy.assert_clean();
}

#[test]
fn a_key_that_leaves_the_key_set_ends_streams() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({"jwks": {"upstream": "sts", "ttl_s": 10}}));
    let stream = event_stream(&mut proxy, 1, json!({}));
    proxy.advance(Duration::from_secs(15));
    goes_on(&mut proxy, stream);
    *world.keys.borrow_mut() = vec![Key::new("k2", 2)];
    proxy.advance(Duration::from_secs(15));
    match proxy.outcome(stream) {
        Outcome::Cut { details, .. } => assert_eq!(details, "caracal_invalid_token"),
        other => panic!("{other:?}"),
    }
    assert_eq!(cuts(&proxy, "key_gone"), 1);
    proxy.assert_clean();
}

#[test]
fn a_mandate_that_expires_ends_its_streams_in_time() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let until = |s: u64| json!({"exp": START + s});
    let short = event_stream(&mut proxy, 0, until(10));
    let long = event_stream(&mut proxy, 0, until(20));
    proxy.advance(Duration::from_secs(9));
    goes_on(&mut proxy, short);
    proxy.advance(Duration::from_secs(1));
    assert!(matches!(proxy.outcome(short), Outcome::Cut { .. }));
    goes_on(&mut proxy, long);
    proxy.advance(Duration::from_secs(10));
    assert!(matches!(proxy.outcome(long), Outcome::Cut { .. }));
    assert_eq!(cuts(&proxy, "expired"), 2);
    proxy.assert_clean();
}

/// The client gets an answer if it has none yet; an upload's further bytes go nowhere.
#[test]
fn an_upload_ends_and_its_client_is_told() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let claims = json!({"sid": "s1", "exp": START + 1_000_000});
    let token = Key::new("k1", 1).mandate(START, claims);
    let upload = Request::post("/", "first").bearer(token).open();
    let stream = proxy.request(0, upload);
    assert_eq!(proxy.upstream(stream).unwrap().body, b"first");
    world.revoke("s1");
    proxy.advance(SOON);
    let reply = proxy.outcome(stream).replied();
    assert_eq!(reply.status, 401);
    assert_eq!(reply.json()["error"], "session_revoked");
    assert_eq!(proxy.upstream(stream).unwrap().body, b"first");
    proxy.assert_clean();
}

/// The number is bounded; a place is free again however its request ended.
#[test]
fn more_than_the_bound_are_refused_until_one_ends() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({"limits": {"max_streams": 3}}));
    let mut full = Vec::new();
    for _ in 0..3 {
        full.push(event_stream(&mut proxy, 0, json!({"sid": "s1"})));
    }
    let refused = |proxy: &mut Proxy| {
        let stream = send(proxy, 0, json!({}));
        let reply = proxy.outcome(stream).replied();
        assert_eq!(
            (reply.status, reply.json()["error"].clone()),
            (503, json!("sts_unavailable"))
        );
        assert!(proxy.upstream(stream).is_none());
    };
    refused(&mut proxy);
    // Another worker has its own.
    let other = event_stream(&mut proxy, 1, json!({}));
    // One ends well, its client leaves one, and one is cut.
    proxy.respond_body(full[0], "", true);
    let again = event_stream(&mut proxy, 0, json!({}));
    refused(&mut proxy);
    proxy.cancel(full[1]);
    event_stream(&mut proxy, 0, json!({}));
    refused(&mut proxy);
    world.revoke("s1");
    proxy.advance(SOON);
    is_cut(&proxy, full[2], "caracal_session_revoked");
    event_stream(&mut proxy, 0, json!({}));
    refused(&mut proxy);
    // A refused request takes no place, and neither does an excluded one.
    proxy.respond_body(again, "", true);
    for _ in 0..5 {
        proxy.request(0, Request::get("/"));
        proxy.request(0, Request::get("/open"));
    }
    event_stream(&mut proxy, 0, json!({}));
    goes_on(&mut proxy, other);
    proxy.assert_clean();
}

/// What the edge lacks ends nothing. What it learns later does.
#[test]
fn an_outage_of_the_companion_ends_no_stream_and_hides_no_revocation() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let [gone, stays] = ["s1", "s2"].map(|sid| event_stream(&mut proxy, 0, json!({"sid": sid})));
    world.say(Some(Answer::Refused));
    world.revoke("s1");
    proxy.advance(Duration::from_secs(60));
    goes_on(&mut proxy, gone);
    // New requests are refused meanwhile.
    assert_eq!(judged(&world, &mut proxy, json!({})).0, 503);
    world.say(None);
    proxy.advance(Duration::from_secs(8));
    assert!(matches!(proxy.outcome(gone), Outcome::Cut { .. }));
    goes_on(&mut proxy, stays);
    proxy.assert_clean();
}

/// What a request with a known mandate costs, to the end of its response: work and host calls.
fn known_request(proxy: &mut Proxy) -> (u64, u64) {
    let mut last = (0, 0);
    for _ in 0..3 {
        proxy.advance(Duration::from_millis(1));
        let stream = send(proxy, 0, json!({"sid": "known"}));
        proxy.respond(stream, 200, [("content-type", "text/plain")]);
        let cost = proxy.cost(stream);
        last = (cost.fuel, cost.host_calls.values().sum());
    }
    last
}

/// The places of requests that have ended are taken by others, which are judged like all.
#[test]
fn requests_in_the_places_of_others_are_judged_too() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let mut open: Vec<(String, Stream)> = Vec::new();
    for round in 0..3 {
        while open.len() < 600 {
            let sid = format!("s{}", open.len() % 7 + round);
            let stream = event_stream(&mut proxy, 0, json!({"sid": sid}));
            open.push((sid, stream));
        }
        proxy.advance(TICK);
        // Of each session some end by themselves.
        let mut number = 0;
        open.retain(|(_, stream)| {
            number += 1;
            if number % 5 == 0 {
                proxy.respond_body(*stream, "", true);
            }
            number % 5 != 0
        });
        let revoked = format!("s{round}");
        world.revoke(&revoked);
        proxy.advance(Duration::from_secs(2));
        let (gone, left): (Vec<_>, Vec<_>) = open.into_iter().partition(|(sid, _)| *sid == revoked);
        assert!(gone.len() > 10 && left.len() > 100);
        for (_, stream) in gone {
            is_cut(&proxy, stream, "caracal_session_revoked");
        }
        assert!(left.iter().all(|(_, stream)| !proxy.is_finished(*stream)));
        open = left;
    }
    proxy.assert_clean();
}

/// The dearest case: one session has very many streams, among as many others. Each tick ends
/// a few, because a proxy may end each within the end of the one before.
#[test]
fn five_thousand_streams_end_within_seconds() {
    const MANY: usize = 5_000;
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let alone = known_request(&mut proxy);
    let mut streams = Vec::new();
    for _ in 0..MANY {
        for sid in ["s1", "s2"] {
            streams.push(send(&mut proxy, 0, json!({"sid": sid})));
        }
    }
    proxy.advance(TICK);
    // Another request costs the same beside them.
    let (work, host_calls) = known_request(&mut proxy);
    assert!(work * 100 <= alone.0 * 102, "{work} {}", alone.0);
    assert_eq!(host_calls, alone.1);
    world.revoke("s1");
    proxy.advance(Duration::from_secs(5));
    let replied = |stream: &&Stream| matches!(proxy.outcome(**stream), Outcome::Replied(_));
    assert_eq!(streams.iter().filter(replied).count(), MANY);
    assert_eq!(cuts(&proxy, "session_revoked"), MANY as u64);
    // No tick did more than its part.
    let ticks = proxy
        .callbacks()
        .iter()
        .filter(|one| one.callback == "proxy_on_tick");
    let dearest = ticks.map(|tick| tick.fuel).max().unwrap();
    assert!(dearest < 12_000_000, "{dearest}");
    proxy.assert_clean();
}

/// Without changes, nothing is judged again.
#[test]
fn a_quiet_tick_costs_the_same_with_a_thousand_streams() {
    let cost = |streams: usize| {
        let world = World::new(ENVOY);
        let mut proxy = start(
            &world,
            json!({"revocation": {"upstream": "feed", "poll_interval_ms": 60_000, "max_staleness_s": 3_600}}),
        );
        for _ in 0..streams {
            send(&mut proxy, 0, json!({}));
        }
        proxy.advance(Duration::from_secs(5));
        proxy.forget();
        proxy.advance(Duration::from_millis(500));
        let ticks = proxy
            .callbacks()
            .iter()
            .filter(|one| one.callback == "proxy_on_tick");
        ticks.map(|tick| tick.fuel).min().unwrap()
    };
    let (few, many) = (cost(1), cost(1_000));
    assert!(many < few + 1_000, "{few} {many}");
}

#[test]
fn each_kind_of_end_can_be_switched_off() {
    let world = World::new(ENVOY);
    let streams = json!({"end_when_revoked": false, "end_when_expired": true});
    let mut proxy = start(&world, json!({"streams": streams}));
    let claims = json!({"sid": "s1", "exp": START + 10});
    let stream = event_stream(&mut proxy, 0, claims);
    world.revoke("s1");
    proxy.advance(SOON);
    goes_on(&mut proxy, stream);
    // New requests of that session are refused all the same.
    assert_eq!(
        judged(&world, &mut proxy, json!({"sid": "s1"})).1,
        "session_revoked"
    );

    let off = json!({"end_when_revoked": false, "end_when_expired": false});
    let mut proxy = start(
        &world,
        json!({"streams": off, "limits": {"max_streams": 1}}),
    );
    let claims = json!({"sid": "s3", "exp": START + 10});
    let all = [(); 3].map(|()| event_stream(&mut proxy, 0, claims.clone()));
    world.revoke("s3");
    proxy.advance(Duration::from_secs(30));
    for stream in all {
        goes_on(&mut proxy, stream);
    }
    assert!(!proxy.logged(Level::Error, ""), "{:?}", proxy.logs());
}
