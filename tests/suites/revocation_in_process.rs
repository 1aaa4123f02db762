//! Revocation in the in-process host: several workers over one shared data, a
//! companion that comes, goes and is replaced, and faults at every turn. Whatever
//! happens, what was refused as revoked is never admitted again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::companion::InProcess;
use caracal_tests::filter_wasm;
use caracal_tests::host::{
    Answer, Builder, Callout, Level, Module, Outcome, Proxy, Request, Stream,
};
use caracal_tests::mint::{Key, ZONE, configuration, key_set};
use serde_json::{Value, json};

const START: u64 = 1_767_225_600;
/// Time in which the first poll and fetch are done, and news get around.
const SOON: Duration = Duration::from_millis(300);

/// What the callouts are answered by; a test swaps parts of it.
#[derive(Clone)]
struct World {
    companion: Rc<RefCell<InProcess>>,
    /// An answer in place of the companion's.
    instead: Rc<RefCell<Option<Answer>>>,
    polls: Rc<Cell<usize>>,
}

impl World {
    fn new() -> Self {
        World {
            companion: Rc::default(),
            instead: Rc::default(),
            polls: Rc::default(),
        }
    }

    fn answer(&self, callout: &Callout) -> Answer {
        if callout.cluster == "sts" {
            return Answer::json(&key_set(&[&Key::new("k1", 1)]));
        }
        self.polls.set(self.polls.get() + 1);
        match &*self.instead.borrow() {
            Some(answer) => answer.clone(),
            None => self.companion.borrow().answer(callout),
        }
    }

    fn revoke(&self, anchor: &str) {
        self.companion.borrow().revoke(anchor);
    }

    /// The companion does not answer any more, or answers otherwise.
    fn say(&self, answer: Option<Answer>) {
        *self.instead.borrow_mut() = answer;
    }
}

fn feed() -> Value {
    json!({"upstream": "feed", "poll_interval_ms": 100, "max_staleness_s": 5})
}

fn builder(world: &World, changes: Value) -> Builder {
    let mut all = json!({"revocation": feed(), "exclude": ["/open"]});
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    let world = world.clone();
    Proxy::envoy(Module::from_file(filter_wasm()).unwrap())
        .configuration(configuration(all).to_string())
        .wall(Duration::from_secs(START))
        .workers(2)
        .clusters(["sts", "feed"])
        .on_callout(move |callout| world.answer(callout))
}

fn start(world: &World, changes: Value) -> Proxy {
    let mut proxy = builder(world, changes).start().unwrap();
    proxy.advance(SOON);
    proxy
}

fn send(proxy: &mut Proxy, worker: usize, claims: Value) -> Stream {
    // A day and more passes in some tests; the mandates are good all along.
    let mut long = json!({"exp": START + 1_000_000});
    for (name, value) in claims.as_object().unwrap() {
        long[name] = value.clone();
    }
    let token = Key::new("k1", 1).mandate(START, long);
    proxy.request(worker, Request::get("/").bearer(token))
}

/// Status and error, once there is one.
fn outcome(proxy: &Proxy, stream: Stream) -> (u32, String) {
    match proxy.outcome(stream) {
        Outcome::Forwarded(_) => (200, String::new()),
        Outcome::Replied(reply) => {
            let error = reply.json()["error"].as_str().unwrap().to_owned();
            (reply.status, error)
        }
        other => panic!("{other:?}"),
    }
}

/// The same of a mandate with these claims, in each worker.
fn judged(proxy: &mut Proxy, claims: Value) -> (u32, String) {
    let streams = [0, 1].map(|worker| send(proxy, worker, claims.clone()));
    proxy.advance(Duration::from_millis(20));
    let [one, two] = streams.map(|stream| outcome(proxy, stream));
    assert_eq!(one, two, "the workers do not agree");
    one
}

fn admitted() -> (u32, String) {
    (200, String::new())
}

fn revoked() -> (u32, String) {
    (401, "session_revoked".to_owned())
}

fn unavailable() -> (u32, String) {
    (503, "sts_unavailable".to_owned())
}

#[test]
fn each_of_the_four_anchors_refuses_in_every_worker_and_nothing_else_does() {
    let world = World::new();
    let mut proxy = start(&world, json!({}));
    assert_eq!(judged(&mut proxy, json!({})), admitted());
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
        assert_eq!(judged(&mut proxy, claims.clone()), revoked(), "{claims}");
    }
    for claims in [
        json!({}),
        json!({"source_session_id": "src-1", "target_session_id": "src-1"}),
        json!({"delegation_chain": [{"application_id": "app-x", "agent_session_id": "a-1"}]}),
        json!({"jti": "s-1"}),
        json!({"agent_session_id": ""}),
    ] {
        assert_eq!(judged(&mut proxy, claims.clone()), admitted(), "{claims}");
    }
    proxy.assert_clean();
}

#[test]
fn a_cached_verdict_does_not_outlive_a_revocation() {
    let world = World::new();
    let mut proxy = start(&world, json!({}));
    for _ in 0..3 {
        assert_eq!(judged(&mut proxy, json!({})), admitted());
    }
    world.revoke("sid-1");
    proxy.advance(SOON);
    assert_eq!(judged(&mut proxy, json!({})), revoked());
    proxy.advance(Duration::from_secs(1));
    assert_eq!(proxy.metric_value("caracal_revocation_anchors"), 1);
}

#[test]
fn an_epoch_above_the_mandates_makes_it_stale() {
    let world = World::new();
    let mut proxy = start(&world, json!({}));
    let with = |epoch: u64| json!({"delegation_graph_epoch": epoch});
    assert_eq!(judged(&mut proxy, with(0)), admitted());
    world.companion.borrow().raise("another-zone", 9);
    world.companion.borrow().raise(ZONE, 5);
    proxy.advance(SOON);
    let stale = (401, "delegation_stale".to_owned());
    assert_eq!(judged(&mut proxy, with(4)), stale);
    assert_eq!(judged(&mut proxy, with(0)), stale);
    assert_eq!(judged(&mut proxy, with(5)), admitted());
    assert_eq!(judged(&mut proxy, with(6)), admitted());
    assert_eq!(judged(&mut proxy, json!({})), admitted());
    world.companion.borrow().raise(ZONE, 3);
    proxy.advance(SOON);
    assert_eq!(judged(&mut proxy, with(4)), stale, "it never goes back");
}

#[test]
fn the_first_requests_wait_for_the_state_and_one_vm_reads_it_for_all() {
    let world = World::new();
    world.revoke("sid-1");
    let mut proxy = builder(&world, json!({})).start().unwrap();
    let bad = send(&mut proxy, 0, json!({}));
    let good = send(&mut proxy, 1, json!({"sid": "other"}));
    assert!(proxy.outcome(bad).is_paused());
    proxy.advance(Duration::from_millis(60));
    assert_eq!(outcome(&proxy, bad), revoked());
    assert_eq!(outcome(&proxy, good), admitted());
    let snapshots = |proxy: &Proxy| {
        let polls = proxy.callouts_to("feed");
        polls
            .iter()
            .filter(|c| c.path.starts_with("/v1/snapshot"))
            .count()
    };
    proxy.advance(Duration::from_secs(2));
    assert_eq!(snapshots(&proxy), 1);
    // A poll is held back for the interval: about one in 100 ms, by one VM at a time.
    let polls = world.polls.get();
    assert!((15..=25).contains(&polls), "{polls}");
    proxy.assert_clean();
}

#[test]
fn without_a_companion_only_what_needs_it_is_refused() {
    let world = World::new();
    world.say(Some(Answer::Refused));
    let mut proxy = start(&world, json!({"required_scopes": ["billing:read"]}));
    assert_eq!(judged(&mut proxy, json!({})), unavailable());
    for (claims, error, status) in [
        (json!({"scope": "other"}), "insufficient_scope", 403),
        (json!({"zone_id": "other"}), "invalid_zone", 401),
        (json!({"exp": START - 100}), "invalid_token", 401),
        (json!({"exp": START - 10}), "invalid_token", 401),
    ] {
        assert_eq!(judged(&mut proxy, claims), (status, error.to_owned()));
    }
    let bare = proxy.request(0, Request::get("/"));
    assert_eq!(outcome(&proxy, bare).1, "missing_token");
    let open = proxy.request(0, Request::get("/open/x"));
    assert_eq!(outcome(&proxy, open), admitted());
    let logged = proxy
        .logs()
        .iter()
        .filter(|l| l.text.contains("revocations not read from feed"));
    assert_eq!(logged.count(), 1);
    world.say(None);
    proxy.advance(Duration::from_secs(6));
    assert_eq!(judged(&mut proxy, json!({})), admitted());
}

#[test]
fn state_that_is_too_old_refuses_and_recovers_by_itself() {
    let world = World::new();
    let mut proxy = start(&world, json!({}));
    world.say(Some(Answer::TimesOut));
    proxy.advance(Duration::from_millis(4_500));
    assert_eq!(judged(&mut proxy, json!({})), admitted());
    proxy.advance(Duration::from_secs(1));
    assert_eq!(judged(&mut proxy, json!({})), unavailable());
    world.say(None);
    proxy.advance(Duration::from_secs(8));
    assert_eq!(judged(&mut proxy, json!({})), admitted());
}

/// The companion lives and is cut off from Redis: its answers come, and get older.
#[test]
fn a_companion_out_of_touch_does_not_look_fresh() {
    let world = World::new();
    let mut proxy = start(&world, json!({}));
    let (_, body) = world.companion.borrow().get("/v1/snapshot", None);
    let mut page: Value = serde_json::from_slice(&body).unwrap();
    for (age, expected) in [(4_000, admitted()), (6_000, unavailable()), (0, admitted())] {
        page["confirmed_age_ms"] = json!(age);
        world.say(Some(Answer::json(&page).after(Duration::from_millis(50))));
        proxy.advance(Duration::from_secs(if age > 5_000 { 6 } else { 1 }));
        assert_eq!(judged(&mut proxy, json!({})), expected, "{age}");
    }
}

#[test]
fn another_vm_polls_when_the_holder_of_the_lease_is_gone() {
    let world = World::new();
    let mut proxy = start(&world, json!({}));
    world.say(Some(Answer::Never));
    proxy.advance(Duration::from_millis(200));
    world.say(None);
    world.revoke("sid-1");
    proxy.advance(Duration::from_millis(4_000));
    assert_eq!(judged(&mut proxy, json!({})), revoked());
}

#[test]
fn a_new_companion_never_lets_a_revoked_mandate_through() {
    let world = World::new();
    world.revoke("sid-1");
    let mut proxy = start(&world, json!({}));
    assert_eq!(judged(&mut proxy, json!({})), revoked());
    let other = InProcess::default();
    other.revoke("sid-1");
    for n in 0..2_500 {
        other.revoke(&format!("x-{n}"));
    }
    *world.companion.borrow_mut() = other;
    for _ in 0..60 {
        assert_eq!(judged(&mut proxy, json!({})), revoked());
        assert_eq!(judged(&mut proxy, json!({"sid": "free"})), admitted());
    }
    assert_eq!(judged(&mut proxy, json!({"sid": "x-2499"})), revoked());
    assert_eq!(
        proxy.metric_value("caracal_feed_polls_total.result=gone"),
        1
    );
    proxy.assert_clean();
}

/// A companion that has forgotten (in development, without a file): what was
/// refused stays refused here.
#[test]
fn a_companion_that_forgot_un_revokes_nobody() {
    let world = World::new();
    world.revoke("sid-1");
    let mut proxy = start(&world, json!({}));
    assert_eq!(judged(&mut proxy, json!({})), revoked());
    *world.companion.borrow_mut() = InProcess::default();
    proxy.advance(Duration::from_secs(2));
    assert_eq!(judged(&mut proxy, json!({})), revoked());
    proxy.restart_worker(0).unwrap();
    proxy.advance(SOON);
    assert_eq!(judged(&mut proxy, json!({})), revoked());
}

#[test]
fn a_vm_made_anew_knows_what_the_others_know() {
    let world = World::new();
    for n in 0..9_000 {
        world.revoke(&format!("x-{n}"));
    }
    let mut proxy = start(&world, json!({}));
    world.say(Some(Answer::TimesOut));
    for worker in [0, 1] {
        proxy.restart_worker(worker).unwrap();
    }
    for sid in ["x-0", "x-4095", "x-4096", "x-8999"] {
        assert_eq!(judged(&mut proxy, json!({"sid": sid})), revoked(), "{sid}");
    }
    assert_eq!(judged(&mut proxy, json!({})), admitted());
    proxy.assert_clean();
}

#[test]
fn an_expired_anchor_leaves() {
    let world = World::new();
    world.companion.borrow().revoke_for("sid-1", 3);
    world.revoke("r-1");
    let mut proxy = start(&world, json!({}));
    assert_eq!(judged(&mut proxy, json!({})), revoked());
    proxy.advance(Duration::from_secs(10));
    assert_eq!(judged(&mut proxy, json!({})), admitted());
    assert_eq!(judged(&mut proxy, json!({"sid": "r-1"})), revoked());
    assert_eq!(proxy.metric_value("caracal_revocation_anchors"), 1);
}

#[test]
fn over_capacity_everything_is_refused_until_it_fits() {
    let world = World::new();
    for n in 0..10 {
        world.companion.borrow().revoke_for(&format!("x-{n}"), 60);
    }
    let mut proxy = start(&world, json!({"limits": {"max_anchors": 10}}));
    assert_eq!(judged(&mut proxy, json!({})), admitted());
    world.companion.borrow().revoke_for("one-more", 60);
    proxy.advance(SOON);
    assert_eq!(judged(&mut proxy, json!({})), unavailable());
    assert!(proxy.logged(Level::Error, "limits.max_anchors"));
    let open = proxy.request(0, Request::get("/open"));
    assert_eq!(outcome(&proxy, open), admitted());
    // The companion's state gets smaller; theirs expires here too.
    let smaller = InProcess::default();
    smaller.revoke("sid-1");
    *world.companion.borrow_mut() = smaller;
    proxy.advance(Duration::from_secs(110));
    assert_eq!(judged(&mut proxy, json!({"sid": "free"})), admitted());
    assert_eq!(judged(&mut proxy, json!({})), revoked());
}

/// More expires than lives: the log is written anew without it.
#[test]
fn a_log_of_expired_anchors_is_replaced_and_nobody_is_admitted_meanwhile() {
    let world = World::new();
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
    assert_eq!(head(&proxy).len, 25_001);
    for _ in 0..300 {
        proxy.advance(Duration::from_millis(30));
        assert_eq!(judged(&mut proxy, json!({})), revoked());
        assert_eq!(judged(&mut proxy, json!({"sid": "free"})), admitted());
    }
    assert_eq!(head(&proxy).len, 5_001);
    assert_ne!(head(&proxy).prev_image, 0);
    proxy.restart_worker(1).unwrap();
    assert_eq!(judged(&mut proxy, json!({"sid": "long-4999"})), revoked());
    world.revoke("later");
    proxy.advance(SOON);
    assert_eq!(judged(&mut proxy, json!({"sid": "later"})), revoked());
    proxy.assert_clean();
}

#[test]
fn damaged_shared_data_is_never_believed_and_heals() {
    let world = World::new();
    world.revoke("sid-1");
    for n in 0..5_000 {
        world.revoke(&format!("x-{n}"));
    }
    let names: Vec<Vec<u8>> = {
        let proxy = start(&world, json!({}));
        let keys = proxy.shared_data().keys();
        keys.filter(|k| k.windows(10).any(|w| w == b"revocation"))
            .cloned()
            .collect()
    };
    assert!(names.len() >= 3, "{}", names.len());
    for name in names {
        for damage in [0, 1, 2] {
            let mut proxy = start(&world, json!({}));
            proxy.corrupt_shared(&name, |bytes| match damage {
                0 => bytes[20] ^= 1,
                1 => bytes.truncate(bytes.len() / 2),
                _ => bytes.clear(),
            });
            proxy.restart_worker(0).unwrap();
            for _ in 0..100 {
                for worker in [0, 1] {
                    let stream = send(&mut proxy, worker, json!({}));
                    assert!(proxy.upstream(stream).is_none());
                }
                proxy.advance(Duration::from_millis(20));
            }
            proxy.advance(Duration::from_secs(6));
            assert_eq!(judged(&mut proxy, json!({})), revoked());
            assert_eq!(judged(&mut proxy, json!({"sid": "x-4999"})), revoked());
            assert_eq!(judged(&mut proxy, json!({"sid": "free"})), admitted());
        }
    }
}

/// Every VM has read the chunk before it is spoiled: the next news find it out.
#[test]
fn a_chunk_spoiled_behind_every_ones_back_heals_with_the_next_news() {
    let world = World::new();
    world.revoke("sid-1");
    let mut proxy = start(&world, json!({}));
    assert_eq!(judged(&mut proxy, json!({})), revoked());
    let shared = proxy.shared_data().keys();
    let chunks: Vec<Vec<u8>> = shared
        .filter(|key| key.ends_with(b"/0/0") || key.ends_with(b"/1/0"))
        .cloned()
        .collect();
    assert_eq!(chunks.len(), 1);
    proxy.corrupt_shared(&chunks[0], |bytes| bytes[20] ^= 1);
    world.revoke("news");
    for _ in 0..100 {
        let stream = send(&mut proxy, 0, json!({}));
        assert!(proxy.upstream(stream).is_none());
        proxy.advance(Duration::from_millis(20));
    }
    assert_eq!(judged(&mut proxy, json!({"sid": "news"})), revoked());
    assert_eq!(judged(&mut proxy, json!({})), revoked());
    assert_eq!(judged(&mut proxy, json!({"sid": "free"})), admitted());
}

#[test]
fn a_token_is_sent_and_a_wrong_one_is_named_and_not_shown() {
    let world = World::new();
    *world.companion.borrow_mut() = InProcess::new(Some("right-token"));
    let with = |token: &str| {
        let mut feed = feed();
        feed["token"] = json!(token);
        json!({ "revocation": feed })
    };
    let mut proxy = start(&world, with("right-token"));
    assert_eq!(judged(&mut proxy, json!({})), admitted());
    let mut proxy = start(&world, with("wrong-token"));
    assert_eq!(judged(&mut proxy, json!({})), unavailable());
    assert!(proxy.logged(Level::Error, "revocation.token"));
    for line in proxy.logs() {
        assert!(!line.text.contains("wrong-token"), "{}", line.text);
    }
    for key in proxy.shared_data().keys() {
        assert!(!String::from_utf8_lossy(key).contains("wrong-token"));
    }
}

#[test]
fn clocks_that_jump_change_nothing_about_revocation() {
    let world = World::new();
    world.revoke("sid-1");
    let mut proxy = start(&world, json!({}));
    for jump in [-400_000, 700_000] {
        proxy.jump_wall(jump);
        proxy.advance(SOON);
        let (status, _) = judged(&mut proxy, json!({}));
        assert_eq!(status, 401);
    }
    proxy.jump_wall(-300_000);
    assert_eq!(judged(&mut proxy, json!({})), revoked());
    assert_eq!(judged(&mut proxy, json!({"sid": "free"})), admitted());
}

/// Pages that lie: nothing of them counts, and the state gets old.
#[test]
fn a_page_that_is_none_confirms_nothing() {
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
        let world = World::new();
        world.say(Some(answer.clone()));
        let mut proxy = start(&world, json!({}));
        assert_eq!(judged(&mut proxy, json!({})), unavailable(), "{answer:?}");
    }
}

/// Whatever status a host call returns while the state is read, polled and
/// shared, a revoked mandate is refused, and the filter lives on.
#[test]
fn a_host_call_that_fails_never_admits_a_revoked_mandate() {
    for failing in [
        "proxy_get_shared_data",
        "proxy_set_shared_data",
        "proxy_get_buffer_bytes",
        "proxy_get_header_map_value",
        "proxy_record_metric",
        "proxy_log",
    ] {
        for code in [1, 2, 3, 7, 8, 10, 12] {
            let world = World::new();
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
            assert_eq!(judged(&mut proxy, json!({})), revoked(), "{failing} {code}");
            assert_eq!(
                judged(&mut proxy, json!({"sid": "later"})),
                revoked(),
                "{failing} {code}"
            );
            assert_eq!(
                judged(&mut proxy, json!({"sid": "free"})),
                admitted(),
                "{failing} {code}"
            );
        }
    }
}
