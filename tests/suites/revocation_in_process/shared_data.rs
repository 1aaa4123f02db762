//! Workers that share their state (Envoy): one reads it for all, and what stands there
//! can be spoiled.

use super::*;

#[test]
fn the_first_requests_wait_for_the_state_and_one_vm_reads_it_for_all() {
    let world = World::new(ENVOY);
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
fn another_vm_polls_when_the_holder_of_the_lease_is_gone() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    world.say(Some(Answer::Never));
    proxy.advance(Duration::from_millis(200));
    world.say(None);
    world.revoke("sid-1");
    proxy.advance(Duration::from_millis(4_000));
    assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
}

/// A configuration that goes tells the others that its poll is nobody's: without that they
/// would wait for the lease to expire.
#[test]
fn a_configuration_that_goes_gives_its_lease_back() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    world.say(Some(Answer::Never));
    proxy.advance(Duration::from_millis(200));
    let polls = |proxy: &Proxy| proxy.callouts_to("feed").len();
    let (before, holder) = (
        polls(&proxy),
        proxy.callouts_to("feed").last().unwrap().from,
    );
    proxy.advance(Duration::from_millis(200));
    assert_eq!(polls(&proxy), before, "one poll is under way");
    world.say(None);
    world.revoke("sid-1");
    proxy.retire(holder).unwrap();
    proxy.advance(Duration::from_millis(100));
    assert!(polls(&proxy) > before);
    assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
    proxy.assert_clean();
}

/// Shared data outlives configurations and versions of the filter. What is too old there, when
/// one comes back, is no outage: its first requests wait for its first poll, but not for ever.
#[test]
fn what_an_earlier_configuration_left_is_waited_for() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    world.revoke("sid-1");
    // Nobody polls with success, and nobody fails.
    world.say(Some(Answer::Never));
    proxy.advance(Duration::from_secs(60));
    assert_eq!(
        judged(&world, &mut proxy, json!({"sid": "x"})),
        unavailable()
    );
    for (answer, expected) in [(Some(Answer::Never), unavailable()), (None, admitted())] {
        let known = answer.is_some();
        world.say(answer);
        proxy.restart_worker(0).unwrap();
        let stream = send(&mut proxy, 0, json!({"sid": "x"}));
        assert!(proxy.outcome(stream).is_paused());
        proxy.advance(Duration::from_secs(10));
        assert_eq!(outcome(&proxy, stream), expected);
        // It waits once, and not again.
        if known {
            let stream = send(&mut proxy, 0, json!({"sid": "x"}));
            assert_eq!(outcome(&proxy, stream), unavailable());
        }
    }
    assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
}

#[test]
fn a_vm_made_anew_knows_what_the_others_know() {
    let world = World::new(ENVOY);
    for n in 0..9_000 {
        world.revoke(&format!("x-{n}"));
    }
    let mut proxy = start(&world, json!({}));
    world.say(Some(Answer::TimesOut));
    for worker in [0, 1] {
        proxy.restart_worker(worker).unwrap();
    }
    for sid in ["x-0", "x-4095", "x-4096", "x-8999"] {
        assert_eq!(
            judged(&world, &mut proxy, json!({"sid": sid})),
            revoked(),
            "{sid}"
        );
    }
    assert_eq!(judged(&world, &mut proxy, json!({})), admitted());
    proxy.assert_clean();
}

#[test]
fn damaged_shared_data_is_never_believed_and_heals() {
    let world = World::new(ENVOY);
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
            assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
            assert_eq!(
                judged(&world, &mut proxy, json!({"sid": "x-4999"})),
                revoked()
            );
            assert_eq!(
                judged(&world, &mut proxy, json!({"sid": "free"})),
                admitted()
            );
        }
    }
}

/// Every VM has read the chunk before it is spoiled: the next news find it out.
#[test]
fn a_chunk_spoiled_behind_every_ones_back_heals_with_the_next_news() {
    let world = World::new(ENVOY);
    world.revoke("sid-1");
    let mut proxy = start(&world, json!({}));
    assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
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
    assert_eq!(
        judged(&world, &mut proxy, json!({"sid": "news"})),
        revoked()
    );
    assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
    assert_eq!(
        judged(&world, &mut proxy, json!({"sid": "free"})),
        admitted()
    );
}

/// What a configuration that bounds the life of mandates has forgotten is not forgotten
/// for one that does not: an edge that is reconfigured, or another listener.
#[test]
fn a_configuration_with_a_bound_on_life_does_not_forget_for_one_without() {
    let world = World::new(ENVOY);
    world.revoke("sid-1");
    let bounded = json!({"limits": {"max_lifetime_s": 60}, "clock_skew_s": 0});
    let mut bounded = start(&world, bounded);
    bounded.advance(Duration::from_secs(10));
    let shared = bounded.shared_data().clone();
    assert_eq!(bounded.metric_value("caracal_revocation_anchors"), 1);
    let mut next = builder(&world, json!({"clock_skew_s": 0}));
    for (key, (value, _)) in shared {
        next = next.shared(key, value);
    }
    let mut proxy = next.start().unwrap();
    proxy.advance(Duration::from_secs(90));
    assert_eq!(judged(&world, &mut proxy, json!({})), revoked());
}
