//! Ticks in Envoy are slow while nothing waits and nothing is due, and fast as soon as
//! something is.

use super::*;

use caracal_tests::host::{Vm, status};

const MS: Duration = Duration::from_millis(1);
const FAST: [Duration; 1] = [Duration::from_millis(10)];
const SLOW: [Duration; 1] = [Duration::from_millis(100)];
/// Longer than ticks stay fast after the last request.
const QUIET: Duration = Duration::from_millis(2_500);
const VMS: [Vm; 3] = [Vm::Main, Vm::Worker(0), Vm::Worker(1)];

/// With the shipped interval of polls.
fn idle(world: &World) -> Proxy {
    let mut proxy = start(world, json!({"revocation": {"upstream": "feed"}}));
    proxy.advance(QUIET);
    proxy
}

/// Admits a request and lets it end.
fn once(proxy: &mut Proxy, worker: usize) {
    let stream = send(proxy, worker, json!({}));
    assert_eq!(outcome(proxy, stream).0, 200);
    proxy.respond(stream, 200, [("a", "b")]);
    assert!(proxy.is_finished(stream));
}

/// What VMs did from a moment on: the ticks, and the host calls in all callbacks.
fn done(proxy: &Proxy, since: Duration) -> (usize, u64) {
    let all = proxy.callbacks().iter().filter(|one| one.at > since);
    let ticks = all.clone().filter(|one| one.callback == "proxy_on_tick");
    let calls = all.flat_map(|one| one.host_calls.values());
    (ticks.count(), calls.sum())
}

/// Three VMs that tick each 10 ms, each with a look at the key set, the log's head and the
/// clock, would be 300 ticks and over 900 calls in a second.
#[test]
fn an_idle_proxy_ticks_ten_times_a_second_in_each_vm() {
    let world = World::new(ENVOY);
    let mut proxy = idle(&world);
    for vm in VMS {
        let periods = proxy.tick_periods(vm);
        assert!(periods == SLOW || periods == FAST, "{periods:?}");
    }
    let (since, polls) = (proxy.now(), world.polls.get());
    proxy.advance(Duration::from_secs(10));
    let (ticks, calls) = done(&proxy, since);
    println!("in 10 s: {ticks} ticks, {calls} host calls");
    assert!((270..=330).contains(&ticks), "{ticks}");
    assert!(calls < 2_500, "{calls}");
    // The next poll begins within a fast tick of the answer to the one before.
    assert!(
        world.polls.get() - polls >= 9,
        "{}",
        world.polls.get() - polls
    );
    proxy.assert_clean();
}

/// However the ticks of the workers fall, a poll begins within 10 ms of the answer to the one
/// before, so a revocation does not wait for a slow tick.
#[test]
fn there_is_always_a_poll_that_waits() {
    let world = World::new(ENVOY);
    let mut proxy = idle(&world);
    let mut without = Duration::ZERO;
    let mut longest = Duration::ZERO;
    for _ in 0..5_000 {
        proxy.advance(MS);
        without = match proxy
            .open_callouts()
            .iter()
            .any(|one| one.from != Vm::Canary)
        {
            true => Duration::ZERO,
            false => without + MS,
        };
        longest = longest.max(without);
    }
    assert!(longest <= FAST[0], "{longest:?}");
}

/// A request whose key has to be fetched waits as long as with fast ticks, wherever in the
/// slow period it comes: for the next fast tick, the STS, and the tick after that of a worker
/// that did not fetch.
#[test]
fn a_request_that_waits_is_not_kept_by_a_slow_tick() {
    for offset in (0..100).step_by(7) {
        let world = World::new(ENVOY);
        let mut proxy = idle(&world);
        proxy.advance(offset * MS);
        world.keys.borrow_mut().push(Key::new("k2", 2));
        let token = Key::new("k2", 2).mandate(START, json!({}));
        let streams = [0, 1].map(|worker| proxy.request(worker, Request::get("/").bearer(&token)));
        assert!(streams.iter().all(|one| proxy.outcome(*one).is_paused()));
        for worker in [0, 1] {
            assert_eq!(proxy.tick_periods(Vm::Worker(worker)), FAST);
        }
        proxy.advance(25 * MS);
        for stream in streams {
            assert_eq!(outcome(&proxy, stream).0, 200, "{offset}");
        }
        proxy.assert_clean();
    }
}

/// A stream that opens while ticks are slow is watched by fast ones at once, also when the
/// other worker polls. Afterwards they become slow again.
#[test]
fn a_stream_that_opens_is_watched_at_once() {
    for offset in (0..100).step_by(9) {
        let world = World::new(ENVOY);
        let mut proxy = idle(&world);
        proxy.advance(offset * MS);
        let streams = [0, 1].map(|worker| send(&mut proxy, worker, json!({"sid": "s1"})));
        for (worker, stream) in streams.into_iter().enumerate() {
            assert_eq!(outcome(&proxy, stream).0, 200);
            assert_eq!(proxy.tick_periods(Vm::Worker(worker)), FAST);
        }
        // A companion that has news answers the poll that waits; here the test does.
        let poll = proxy
            .open_callouts()
            .iter()
            .find(|one| one.from != Vm::Canary)
            .unwrap()
            .id;
        let path = proxy.callouts()[poll]
            .path
            .replace("wait_ms=", "wait_ms=0&was=");
        world.revoke("s1");
        let (status, body) = world.companion.borrow().get(&path, None);
        assert_eq!(status, 200);
        assert!(proxy.answer(poll, Answer::with(200, body)));
        proxy.advance(11 * MS);
        for stream in streams {
            assert_ne!(outcome(&proxy, stream).0, 200, "{offset}");
        }
        proxy.advance(QUIET);
        for vm in VMS {
            proxy.advance(FAST[0]);
            assert!(
                VMS.iter().any(|one| proxy.tick_periods(*one) == SLOW),
                "{vm:?}"
            );
        }
        proxy.assert_clean();
    }
}

/// Requests that are decided at once need no tick. Those that are watched keep ticks fast for
/// a while, so that traffic does not change the period each time.
#[test]
fn traffic_sets_the_period_once_and_not_for_each_request() {
    let world = World::new(ENVOY);
    let mut proxy = idle(&world);
    let since = proxy.now();
    for _ in 0..50 {
        once(&mut proxy, 0);
        proxy.advance(20 * MS);
    }
    let of_requests = proxy
        .callbacks()
        .iter()
        .filter(|one| one.at >= since && one.stream.is_some());
    let calls =
        of_requests.filter_map(|one| one.host_calls.get("proxy_set_tick_period_milliseconds"));
    assert_eq!(calls.sum::<u64>(), 1);
    assert_eq!(proxy.tick_periods(Vm::Worker(0)), FAST);
    proxy.advance(QUIET);
    assert_eq!(proxy.tick_periods(Vm::Worker(0)), SLOW);
    proxy.assert_clean();
}

/// If the proxy does not take the period, the slow tick decides, and tries again.
#[test]
fn a_period_that_is_not_taken_is_set_later() {
    let world = World::new(ENVOY);
    let mut proxy = idle(&world);
    let token = Key::new("k2", 2).mandate(START, json!({}));
    world.keys.borrow_mut().push(Key::new("k2", 2));
    let refuses = Rc::new(Cell::new(true));
    let still = Rc::clone(&refuses);
    proxy.on_host_call(move |call| {
        let is_period = call.name == "proxy_set_tick_period_milliseconds";
        (is_period && still.get()).then_some(status::INTERNAL_FAILURE)
    });
    let stream = proxy.request(0, Request::get("/").bearer(&token));
    assert_eq!(proxy.tick_periods(Vm::Worker(0)), SLOW);
    proxy.advance(SLOW[0] * 3);
    assert_eq!(outcome(&proxy, stream).0, 200);
    refuses.set(false);
    proxy.advance(SLOW[0]);
    assert_eq!(proxy.tick_periods(Vm::Worker(0)), FAST);
}

/// Only Envoy takes another period; in Kong setting it again would trap.
#[test]
fn kong_ticks_as_it_did() {
    let world = World::new(caracal_tests::hosts::KONG);
    let mut proxy = start(&world, json!({}));
    proxy.advance(Duration::from_secs(10));
    for worker in [0, 1] {
        assert_eq!(proxy.tick_periods(Vm::Worker(worker)), FAST);
    }
    proxy.assert_clean();
}
