//! Sentinels, and every way in which the master becomes another one.

use caracal_tests::redis_topology::{OUTSIDE, Sentinels};

use super::*;

#[test]
fn a_planned_failover_and_one_back() {
    let all = Sentinels::default();
    let scene = Scene::new(all.companion(0));
    all.fail_over();
    let second = all.other_master(0);
    let acknowledged = scene.revokes_in_time(&all.servers[second]);
    scene.is_admitted("free");
    scene.is_revoked("victim");
    // And another, with another victim.
    all.are_whole();
    scene.is_admitted("another");
    let bound = Bound::start(scene.edge, &scene.around.of_session("another"));
    std::thread::sleep(Duration::from_secs(4));
    all.fail_over();
    let third = all.other_master(second);
    let also = all.servers[third].revoke("another");
    bound.holds(also, STALENESS);
    bound.held(also, STALENESS);
    scene.recovers(acknowledged);
}

#[test]
fn a_master_that_crashes_and_comes_back_with_what_it_had() {
    let mut all = Sentinels::default();
    let scene = Scene::new(all.companion(0));
    all.servers[0].kill();
    let second = all.other_master(0);
    let acknowledged = scene.revokes_in_time(&all.servers[second]);
    scene.is_admitted("free");
    // It believes itself to be the master until a Sentinel tells it otherwise.
    all.servers[0].start();
    until("it is told", SOON, || all.servers[0].is_synced());
    scene.is_admitted("free");
    scene.recovers(acknowledged);
}

#[test]
fn a_master_that_stands_still_and_goes_on() {
    let all = Sentinels::default();
    let scene = Scene::new(all.companion(0));
    all.servers[0].pause();
    let second = all.other_master(0);
    let acknowledged = scene.revokes_in_time(&all.servers[second]);
    all.servers[0].resume();
    until("it is told", SOON, || all.servers[0].is_synced());
    scene.recovers(acknowledged);
}

/// The companion stands with the old master and one of the Sentinels, and both
/// go on as before.
#[test]
fn an_old_master_on_this_side_of_a_partition_confirms_nothing() {
    let all = Sentinels::default();
    let scene = Scene::new(all.companion(0));
    let (here, there) = (
        [OUTSIDE, all.servers[0].site, all.sentinels[0].site],
        [
            all.servers[1].site,
            all.servers[2].site,
            all.sentinels[1].site,
            all.sentinels[2].site,
        ],
    );
    all.network.partition(&[&here, &there]);
    let second = all.other_master(0);
    assert!(all.servers[0].is_master(), "it is no split brain");
    assert_eq!(all.named_by(0), Some(all.servers[0].announced()));
    let acknowledged = scene.revokes_in_time(&all.servers[second]);
    scene.is_unavailable();
    // What the old one takes meanwhile is lost with it: the contract of Redis.
    let _ = all.servers[0].try_revoke("lost");
    all.network.heal();
    until("it is told", SOON, || all.servers[0].is_synced());
    scene.recovers(acknowledged);
}

/// The Sentinels of the other side have made another master, and only they are out of
/// reach: the old one and all replicas still answer here.
#[test]
fn sentinels_that_are_out_of_reach_leave_nothing_confirmed() {
    let all = Sentinels::default();
    let scene = Scene::new(all.companion(0));
    let most = [all.sentinels[1].site, all.sentinels[2].site];
    for sentinel in most {
        all.network.cut(OUTSIDE, sentinel);
    }
    scene.is_unavailable();
    let acknowledged = scene.revokes_in_time(&all.servers[0]);
    all.network.heal();
    scene.recovers(acknowledged);
}

#[test]
fn two_of_three_sentinels_are_enough() {
    let mut all = Sentinels::default();
    let scene = Scene::new(all.companion(0));
    all.sentinels[0].kill();
    std::thread::sleep(STALENESS + Duration::from_secs(2));
    scene.is_admitted("free");
    let acknowledged = scene.revokes_in_time(&all.servers[0]);
    scene.recovers(acknowledged);
}

/// The old master's clock was an hour ahead, and its last messages are lost with
/// it: the new one's have ids below those that were read.
#[test]
fn a_new_master_whose_clock_is_behind_is_read_all_the_same() {
    let mut all = Sentinels::default();
    let scene = Scene::new(all.companion(0));
    for replica in [1, 2] {
        all.network
            .cut(all.servers[replica].site, all.servers[0].site);
    }
    let ahead = (caracal_tests::mint::now() + 3_600) * 1_000;
    let ahead = format!("{ahead}-0");
    let _: String = all.servers[0].ask(&["XADD", SESSIONS, &ahead, "session_id", "ahead"]);
    scene.is_revoked("ahead");
    all.servers[0].kill();
    let second = all.other_master(0);
    let acknowledged = scene.revokes_in_time(&all.servers[second]);
    scene.is_admitted("free");
    scene.is_revoked("victim");
    // What was once known stays known.
    scene.is_revoked("ahead");
    scene.recovers(acknowledged);
}

/// Restarted with a wrong clock, as a machine whose clock was never set is.
#[track_caller]
fn with_clocks(skews: [i64; 3]) -> Sentinels {
    let mut all = Sentinels::default();
    for (n, skew) in skews.into_iter().enumerate() {
        all.servers[n].skew_s = skew;
    }
    // Replicas first, the master last and at once, so that no other takes its place.
    for n in [1, 2] {
        all.servers[n].start();
        until("it is in sync", SOON, || all.servers[n].is_synced());
    }
    if all.servers[0].skew_s != 0 {
        all.servers[0].start();
    }
    until("a master with its replicas", SOON, || {
        let synced = all.servers.iter().filter(|server| server.is_synced());
        all.master().is_some() && synced.count() == 2
    });
    all
}

/// Every clock is another one, on both sides of a failover and of one back.
#[track_caller]
fn holds_with_clocks(skews: [i64; 3]) {
    let mut all = with_clocks(skews);
    let scene = Scene::new(all.companion(0));
    let first = all.master().unwrap();
    let before = all.servers[first].revoke("before");
    scene.is_revoked("before");
    assert!(before.elapsed() < SOON);
    all.servers[first].kill();
    let second = all.other_master(first);
    let acknowledged = scene.revokes_in_time(&all.servers[second]);
    scene.is_admitted("free");
    all.servers[first].start();
    until("it is told", SOON, || all.servers[first].is_synced());
    scene.is_revoked("before");
    scene.recovers(acknowledged);
}

const DAY: i64 = 26 * 3_600;

#[test]
fn a_new_master_whose_clock_is_a_day_ahead() {
    holds_with_clocks([0, DAY, DAY]);
}

#[test]
fn a_new_master_whose_clock_is_a_day_behind() {
    holds_with_clocks([0, -DAY, -DAY]);
}

#[test]
fn an_old_master_whose_clock_was_a_day_behind() {
    holds_with_clocks([-DAY, 0, 0]);
}

/// To a clock that is a day ahead every message looks old. What was trimmed before
/// anybody here had read it is missed all the same.
#[test]
fn a_clock_that_is_ahead_makes_nothing_old() {
    let mut all = with_clocks([0, DAY, DAY]);
    let first = all.master().unwrap();
    assert_eq!(first, 0, "the master was slow to start");
    all.servers[first].revoke("trimmed");
    all.servers[first].revoke("there");
    let trimmed: i64 = all.servers[first].ask(&["XTRIM", SESSIONS, "MAXLEN", "1"]);
    assert_eq!(trimmed, 1);
    for replica in [1, 2] {
        let replica = &all.servers[replica];
        until("in sync", SOON, || replica.has_all_of(&all.servers[first]));
    }
    all.servers[first].kill();
    all.other_master(first);
    let mut companion = all.companion(0);
    companion.start();
    until("it knows what is there", SOON, || {
        let ready = companion.get("/readyz").json();
        ready["problems"]
            .to_string()
            .contains("1 messages were missed")
    });
    assert!(!companion.is_ready());
}
