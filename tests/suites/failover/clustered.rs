//! A Cluster, and every way in which the stream's slot gets another owner.

use caracal_tests::redis_topology::{Cluster, OUTSIDE};

use super::*;

#[test]
fn an_owner_that_crashes_and_comes_back() {
    let mut all = Cluster::default();
    let scene = Scene::new(all.companion());
    let old = all.owner(SESSIONS).unwrap();
    all.nodes[old].kill();
    let owner = all.other_owner(SESSIONS, old);
    let acknowledged = scene.revokes_in_time(&all.nodes[owner]);
    scene.is_admitted("free");
    all.nodes[old].start();
    all.is_whole();
    scene.is_admitted("free");
    scene.recovers(acknowledged);
}

#[test]
fn a_planned_failover_and_one_back() {
    let all = Cluster::default();
    let scene = Scene::new(all.companion());
    let old = all.owner(SESSIONS).unwrap();
    all.nodes[old + 3].take_over();
    let owner = all.other_owner(SESSIONS, old);
    assert_eq!(owner, old + 3);
    let acknowledged = scene.revokes_in_time(&all.nodes[owner]);
    scene.is_admitted("free");
    scene.is_revoked("victim");
    all.is_whole();
    scene.is_admitted("another");
    let bound = Bound::start(scene.edge, &scene.around.of_session("another"));
    all.nodes[old].take_over();
    assert_eq!(all.other_owner(SESSIONS, owner), old);
    let also = all.nodes[old].revoke("another");
    bound.holds(also, STALENESS);
    bound.held(also, STALENESS);
    scene.recovers(acknowledged);
}

/// The companion stands alone with the old owner; the others have made another.
#[test]
fn an_owner_on_this_side_of_a_partition_confirms_nothing() {
    let all = Cluster::default();
    let scene = Scene::new(all.companion());
    let old = all.owner(SESSIONS).unwrap();
    let sites = all.nodes.iter().map(|node| node.site);
    let there: Vec<_> = sites.filter(|site| *site != all.nodes[old].site).collect();
    all.network
        .partition(&[&[OUTSIDE, all.nodes[old].site], &there]);
    let owner = all.other_owner(SESSIONS, old);
    let acknowledged = scene.revokes_in_time(&all.nodes[owner]);
    scene.is_unavailable();
    all.network.heal();
    all.is_whole();
    scene.recovers(acknowledged);
}

/// The old owner is paused with what it knew of the slots, and goes on with that.
#[test]
fn an_owner_that_stands_still_and_goes_on() {
    let all = Cluster::default();
    let scene = Scene::new(all.companion());
    let old = all.owner(SESSIONS).unwrap();
    all.nodes[old].pause();
    // Who else asks it waits for its answer.
    std::thread::sleep(Duration::from_secs(3));
    let owner = old + 3;
    until("another owner", SOON, || all.nodes[owner].is_master());
    let acknowledged = scene.revokes_in_time(&all.nodes[owner]);
    all.nodes[old].resume();
    all.is_whole();
    scene.recovers(acknowledged);
}
