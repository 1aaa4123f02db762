//! Workers that share nothing (Kong, APISIX): each finds out for itself, and one that
//! is made anew refuses until it has.

use caracal_tests::hosts::{APISIX, KONG};

use super::*;

/// Until every worker refuses it, at most `longest`. Each is asked again and again, as
/// one is whose mandate is in use.
fn bites(proxy: &mut Proxy, workers: usize, longest: Duration) -> Duration {
    let began = proxy.now();
    let step = Duration::from_millis(20);
    let mut left: Vec<usize> = (0..workers).collect();
    while !left.is_empty() {
        assert!(proxy.now() - began <= longest, "{left:?} still admit it");
        let mut streams = Vec::new();
        for worker in &left {
            streams.push((*worker, send(proxy, *worker, json!({}))));
        }
        proxy.advance(step);
        let admits = |(worker, stream): &(usize, Stream)| {
            matches!(proxy.outcome(*stream), Outcome::Forwarded(_)).then_some(*worker)
        };
        left = streams.iter().filter_map(admits).collect();
    }
    proxy.now() - began
}

fn started(world: &World, workers: usize, feed: Value) -> Proxy {
    let mut proxy = builder(world, json!({"revocation": feed}))
        .workers(workers)
        .start()
        .unwrap();
    proxy.advance(SOON);
    for worker in 0..workers {
        let admitted = world.on.ask(&mut proxy, worker, &request(json!({})));
        assert!(matches!(admitted, Outcome::Forwarded(_)));
    }
    proxy
}

#[test]
fn on_kong_a_revocation_reaches_every_worker_within_the_interval_and_a_second() {
    for interval_ms in [100, 1_000, 5_000] {
        let world = World::new(KONG);
        let feed = json!({"upstream": "feed", "poll_interval_ms": interval_ms});
        let mut proxy = started(&world, 4, feed);
        for restarted in [None, Some(1), Some(3)] {
            if let Some(worker) = restarted {
                proxy.restart_worker(worker).unwrap();
                proxy.advance(SOON);
            }
            *world.companion.borrow_mut() = InProcess::default();
            proxy.advance(Duration::from_secs(1));
        }
        world.revoke("sid-1");
        let longest = Duration::from_millis(interval_ms + 1_000);
        let took = bites(&mut proxy, 4, longest);
        println!("interval {interval_ms} ms: every worker after {took:?}");
        assert!(proxy.shared_data().is_empty(), "it is unsafe as a store");
        proxy.assert_clean();
    }
}

#[test]
fn on_apisix_a_revocation_reaches_every_worker_within_the_age() {
    for (interval_ms, age_s) in [(100, 5), (1_000, 2), (5_000, 30)] {
        let world = World::new(APISIX);
        let feed = json!({
            "upstream": "feed", "poll_interval_ms": interval_ms, "max_staleness_s": age_s,
        });
        let mut proxy = started(&world, 4, feed);
        proxy.restart_worker(2).unwrap();
        world.revoke("sid-1");
        // While the companion answers, the interval is the age of its answers.
        let took = bites(&mut proxy, 4, Duration::from_millis(interval_ms + 100));
        println!("interval {interval_ms} ms: every worker after {took:?}");
        proxy.assert_clean();
    }
}

/// It is revoked while the companion can't be reached: nobody can know, and no answer
/// is used beyond its age.
#[test]
fn on_apisix_no_answer_is_used_beyond_its_age() {
    for gone in [Answer::Refused, Answer::TimesOut, Answer::with(503, "")] {
        let world = World::new(APISIX);
        let feed = json!({"upstream": "feed", "poll_interval_ms": 100, "max_staleness_s": 3});
        let mut proxy = started(&world, 2, feed);
        world.say(Some(gone));
        world.revoke("sid-1");
        bites(&mut proxy, 2, Duration::from_millis(3_100));
        proxy.advance(Duration::from_secs(5));
        assert_eq!(judged(&world, &mut proxy, json!({})), unavailable());
        world.say(None);
        proxy.advance(Duration::from_secs(6));
        assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
        assert_eq!(
            judged(&world, &mut proxy, json!({"sid": "free"})),
            admitted()
        );
        proxy.assert_clean();
    }
}

#[test]
fn a_worker_made_anew_refuses_until_it_knows() {
    for on in [KONG, APISIX] {
        let world = World::new(on);
        world.revoke("sid-1");
        let mut proxy = start(&world, json!({}));
        assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
        world.say(Some(Answer::Refused));
        for reload in [false, true] {
            if reload {
                proxy.reload().unwrap();
            } else {
                proxy.restart_worker(0).unwrap();
                proxy.restart_worker(1).unwrap();
            }
            for claims in [json!({}), json!({"sid": "free"})] {
                assert_eq!(judged(&world, &mut proxy, claims), unavailable());
            }
        }
        world.say(None);
        proxy.advance(Duration::from_secs(6));
        assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
        assert_eq!(
            judged(&world, &mut proxy, json!({"sid": "free"})),
            admitted()
        );
        proxy.assert_clean();
    }
}

/// An answer that never comes holds one request, and none after it.
#[test]
fn a_lost_answer_is_made_up_for() {
    for on in [KONG, APISIX] {
        let world = World::new(on);
        let mut proxy = start(&world, json!({}));
        assert_eq!(judged(&world, &mut proxy, json!({})), admitted());
        world.say(Some(Answer::Never));
        proxy.advance(Duration::from_millis(200));
        let held = send(&mut proxy, 0, json!({"sid": "free"}));
        proxy.advance(Duration::from_millis(200));
        world.say(None);
        world.revoke("sid-1");
        proxy.advance(Duration::from_secs(4));
        assert_eq!(judged(&world, &mut proxy, json!({})), revoked(), "{on:?}");
        let decided = matches!(proxy.outcome(held), Outcome::Forwarded(_));
        assert_eq!(decided, on == KONG, "it has what it needs there");
        proxy.cancel(held);
        assert_eq!(
            judged(&world, &mut proxy, json!({"sid": "free"})),
            admitted()
        );
        proxy.assert_clean();
    }
}
