//! Used mandates are noted where Redis is then: at the master that Sentinels name, at the
//! master of a slot, and after a failover too.

use caracal_tests::redis_topology::{Cluster, Sentinels};

use super::*;

/// Asks until there is a Redis to ask; a mandate that may be used up is not tried again.
#[track_caller]
fn decided_for(companion: &Companion, sts: &Sts) -> String {
    let mut used = String::new();
    until("a mandate is exchanged", Duration::from_secs(40), || {
        used = sts.mandate(AUDIENCE);
        let answer = companion.post("/v1/exchange", &question(&used, json!({})), None);
        answer.json()["granted"].is_object()
    });
    used
}

#[track_caller]
fn is_used(companion: &Companion, mandate: &str) {
    let mut refused = Value::Null;
    until("Redis is asked", Duration::from_secs(40), || {
        let answer = companion.post("/v1/exchange", &question(mandate, json!({})), None);
        assert!(
            answer.json()["granted"].is_null(),
            "a mandate is good twice"
        );
        refused = answer.json()["refused"].clone();
        refused["cause"] == "replay"
    });
    is_replay(&refused);
}

#[test]
fn with_sentinels_and_after_a_failover() {
    let all = Sentinels::default();
    let sts = Sts::start(&[ZONE], &decided(json!("allow")));
    let companion = all.companion(0).gateway(&sts.url()).started();
    let before = decided_for(&companion, &sts);
    let old = all.master().unwrap();
    let key = format!("seen:jti:{}", jti(&before));
    until("the replicas have it", SOON, || {
        let mut servers = all.servers.iter();
        servers.all(|server| server.try_ask(&["EXISTS", &key]) == Ok(1))
    });
    all.fail_over();
    let new = all.other_master(old);
    is_used(&companion, &before);
    let after = decided_for(&companion, &sts);
    let key = format!("seen:jti:{}", jti(&after));
    assert_eq!(all.servers[new].ask::<u8>(&["EXISTS", &key]), 1);
    is_used(&companion, &after);
}

#[test]
fn in_a_cluster_and_after_a_master_is_lost() {
    let mut all = Cluster::default();
    let sts = Sts::start(&[ZONE], &decided(json!("allow")));
    let companion = all.companion().gateway(&sts.url()).started();
    let used: Vec<_> = (0..24).map(|_| decided_for(&companion, &sts)).collect();
    let key = |mandate: &str| format!("seen:jti:{}", jti(mandate));
    let mut owners: Vec<_> = used
        .iter()
        .map(|mandate| all.owner(&key(mandate)).unwrap())
        .collect();
    let lost = owners[0];
    owners.sort_unstable();
    owners.dedup();
    assert!(owners.len() > 1, "they are on several masters");
    for mandate in &used {
        is_used(&companion, mandate);
    }
    std::thread::sleep(Duration::from_secs(1));
    all.nodes[lost].kill();
    all.other_owner(&key(&used[0]), lost);
    for mandate in &used {
        is_used(&companion, mandate);
    }
    is_used(&companion, &decided_for(&companion, &sts));
}
