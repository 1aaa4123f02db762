//! One URL, and what becomes of the server behind it.

use caracal_tests::redis_topology::{Access, Network, Node, OUTSIDE, replicated};

use super::*;

fn to(node: &Node) -> Companion {
    Companion::of(&format!("redis://{}", node.announced()))
}

#[test]
fn a_master_that_is_demoted_while_connected_confirms_nothing_more() {
    let network = Network::default();
    let nodes = replicated(&network, &Access::default(), 2);
    let scene = Scene::new(to(&nodes[0]));
    // The new master is one that the old one cannot reach: nothing that is revoked
    // there comes back to it.
    network.cut(nodes[0].site, nodes[1].site);
    let () = nodes[1].ask(&["REPLICAOF", "NO", "ONE"]);
    nodes[0].follow(&nodes[1]);
    let acknowledged = scene.revokes_in_time(&nodes[1]);
    scene.is_unavailable();
    // The old one is in sync again, and then the master again.
    network.heal();
    until("it is in sync", SOON, || nodes[0].has_all_of(&nodes[1]));
    let () = nodes[0].ask(&["REPLICAOF", "NO", "ONE"]);
    nodes[1].follow(&nodes[0]);
    scene.recovers(acknowledged);
}

#[test]
fn a_replica_confirms_nothing_even_if_it_is_in_touch() {
    let network = Network::default();
    let nodes = replicated(&network, &Access::default(), 2);
    let mut companion = to(&nodes[1]);
    companion.start();
    let mut scene = Scene::of(companion);
    scene.is_unavailable();
    scene.watch();
    let free = Bound::start(scene.edge, &scene.around.of_session("free"));
    network.cut(nodes[1].site, nodes[0].site);
    let acknowledged = scene.revokes_in_time(&nodes[0]);
    assert!(!scene.companion.is_ready(), "a replica is called ready");
    assert_eq!(
        free.last_admitted(),
        None,
        "admitted with nothing confirmed"
    );
    drop(free);
    network.heal();
    until("it is in sync", SOON, || nodes[1].has_all_of(&nodes[0]));
    let () = nodes[1].ask(&["REPLICAOF", "NO", "ONE"]);
    scene.recovers(acknowledged);
}

#[test]
fn a_server_behind_one_address_that_changes_is_noticed() {
    // As of a virtual address: the connection that is there stays with the old one.
    let network = Network::default();
    let nodes = replicated(&network, &Access::default(), 2);
    let scene = Scene::new(to(&nodes[0]));
    nodes[0].pause();
    let () = nodes[1].ask(&["REPLICAOF", "NO", "ONE"]);
    let acknowledged = scene.revokes_in_time(&nodes[1]);
    scene.is_unavailable();
    // With one URL, nothing tells it from a master that is still the right one until it is
    // demoted. So it is demoted before the companion reaches it.
    network.cut(OUTSIDE, nodes[0].site);
    nodes[0].resume();
    nodes[0].follow(&nodes[1]);
    network.heal();
    until("it is in sync", SOON, || nodes[0].has_all_of(&nodes[1]));
    let () = nodes[0].ask(&["REPLICAOF", "NO", "ONE"]);
    scene.recovers(acknowledged);
}

#[test]
fn a_server_without_memory_confirms_nothing_and_is_named() {
    let network = Network::default();
    let nodes = replicated(&network, &Access::default(), 1);
    let mut scene = Scene::new(to(&nodes[0]));
    let () = nodes[0].ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let () = nodes[0].ask(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(nodes[0].try_revoke("victim"), None, "there was room");
    scene.is_unavailable();
    until("not ready", Duration::from_secs(15), || {
        !scene.companion.is_ready()
    });
    let told = scene.companion.get("/readyz");
    let told = String::from_utf8_lossy(&told.body).to_lowercase();
    assert!(told.contains("memory") || told.contains("oom"), "{told}");
    let () = nodes[0].ask(&["CONFIG", "SET", "maxmemory", "0"]);
    scene.is_admitted("victim");
    scene.watch();
    let acknowledged = scene.revokes_in_time(&nodes[0]);
    scene.recovers(acknowledged);
}

#[test]
fn a_master_that_may_not_write_without_its_replicas_confirms_nothing() {
    // The settings that bound a split brain where there is but one URL.
    let network = Network::default();
    let nodes = replicated(&network, &Access::default(), 2);
    for [name, value] in [
        ["min-replicas-max-lag", "1"],
        ["min-replicas-to-write", "1"],
    ] {
        let () = nodes[0].ask(&["CONFIG", "SET", name, value]);
    }
    let scene = Scene::new(to(&nodes[0]));
    network.cut(nodes[1].site, nodes[0].site);
    let () = nodes[1].ask(&["REPLICAOF", "NO", "ONE"]);
    // From when the old master has noticed, at most its lag later.
    until("it takes no writes", SOON, || {
        nodes[0].try_revoke("other").is_none()
    });
    let acknowledged = scene.revokes_in_time(&nodes[1]);
    scene.is_unavailable();
    network.heal();
    nodes[0].follow(&nodes[1]);
    until("it is in sync", SOON, || nodes[0].has_all_of(&nodes[1]));
    let () = nodes[0].ask(&["REPLICAOF", "NO", "ONE"]);
    nodes[1].follow(&nodes[0]);
    scene.recovers(acknowledged);
}
