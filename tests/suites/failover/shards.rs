//! A Cluster whose servers do not stand and fall together: the stream is at one
//! master, and the keys of what it revokes are at others.

use caracal_tests::redis_topology::Cluster;

use super::*;

/// A session whose key is at another master than the stream; that master.
fn of_another_shard(all: &Cluster) -> (String, usize) {
    let stream = all.owner(SESSIONS).unwrap();
    (0..)
        .map(|n| format!("elsewhere-{n}"))
        .find_map(|sid| {
            let owner = all.owner(&key(&sid))?;
            (owner != stream).then_some((sid, owner))
        })
        .unwrap()
}

fn key(sid: &str) -> String {
    format!("caracal:revoked:sessions:{sid}")
}

fn named(all: &Cluster, name: &str) -> Companion {
    all.companion().with(&["--consumer", name])
}

fn problem(companion: &Companion) -> String {
    let ready = companion.get("/readyz").json();
    ready["problems"][&format!("missed {SESSIONS}")].to_string()
}

/// The stream's server notes that the store has a message, and another server loses
/// its key. Whoever has not read the message must not believe the note.
#[test]
fn a_note_is_void_when_another_shard_has_lost_its_keys() {
    let mut all = Cluster::default();
    let (victim, shard) = of_another_shard(&all);
    let replica = shard + 3;
    let one = named(&all, "one").started();
    let stream = all.owner(SESSIONS).unwrap();
    all.network
        .cut(all.nodes[replica].site, all.nodes[shard].site);
    all.nodes[stream].revoke(&victim);
    let (count, note) = (1, "caracal:edge:covered:{caracal.sessions.revoke}");
    until("noted", SOON, || {
        let noted: Option<String> = all.nodes[stream].try_ask(&["GET", note]).unwrap();
        noted.is_some_and(|noted| noted.starts_with(&format!("{count} ")))
    });
    let at: Option<String> = all.nodes[shard].ask(&["GET", &key(&victim)]);
    assert!(at.is_some(), "the store does not have it");
    // Nobody who has read it is there when the key is lost.
    one.pause();
    all.nodes[shard].kill();
    until("the replica takes over", SOON, || {
        all.owner(&key(&victim)) == Some(replica)
    });
    let at: Option<String> = all.nodes[replica].ask(&["GET", &key(&victim)]);
    assert_eq!(at, None, "nothing was lost");
    let trimmed: i64 = all.nodes[stream].ask(&["XTRIM", SESSIONS, "MAXLEN", "0"]);
    assert_eq!(trimmed, count);
    let mut two = named(&all, "two");
    two.start();
    until("it knows that something is missing", SOON, || {
        problem(&two).contains("1 messages")
    });
    for _ in 0..20 {
        assert!(!two.is_ready(), "it believes the note");
        std::thread::sleep(Duration::from_millis(100));
    }
    // Who has read it writes it again, and notes that anew.
    all.network.heal();
    all.nodes[shard].start();
    one.resume();
    until("it is made good", SOON, || two.is_ready());
    assert!(two.has_revoked(&victim));
}

/// A slot is on its way from one master to another: what is revoked meanwhile is
/// written where it goes, who is ready stays so, and who starts waits for the end.
#[test]
fn slots_that_are_moved_lose_nothing_and_stop_nobody() {
    let all = Cluster::default();
    let (victim, from) = of_another_shard(&all);
    // Of the same slot: what stands in braces.
    let victim = format!("{{{}}}victim", key(&victim));
    let stored = victim.replace("victim", "stored");
    assert_eq!(all.slot(&key(&victim)), all.slot(&key(&stored)));
    let stream = all.owner(SESSIONS).unwrap();
    let to = (0..3).find(|n| *n != from && *n != stream).unwrap();
    let one = named(&all, "one").started();
    let slot = all.slot(&key(&victim)).to_string();
    let id = |n: usize| -> String { all.nodes[n].ask(&["CLUSTER", "MYID"]) };
    let (from_id, to_id) = (id(from), id(to));
    let set = |n: usize, words: &[&str]| {
        let all_words = [&["CLUSTER", "SETSLOT", &slot], words].concat();
        let () = all.nodes[n].ask(&all_words);
    };
    // One that is in the store alone, and is moved.
    let () = all.nodes[from].ask(&["SET", &key(&stored), "1", "PX", "600000"]);
    set(to, &["IMPORTING", &from_id]);
    set(from, &["MIGRATING", &to_id]);
    let at = all.nodes[to].direct;
    let (host, port) = (at.ip().to_string(), at.port().to_string());
    let moved: String = all.nodes[from].ask(&["MIGRATE", &host, &port, &key(&stored), "0", "5000"]);
    assert_eq!(moved, "OK");
    all.nodes[stream].revoke(&victim);
    until("it is at the new master", SOON, || {
        let keys: Vec<String> = all.nodes[to].ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "9"]);
        keys.contains(&key(&victim))
    });
    let two = named(&all, "two");
    let mut two = two;
    two.start();
    until("it says what it waits for", SOON, || {
        two.log().contains("slots of the cluster are being moved")
    });
    assert!(!two.is_ready());
    assert!(one.is_ready() && one.has_revoked(&victim));
    for n in [to, from, stream] {
        set(n, &["NODE", &to_id]);
    }
    until("it is ready", SOON, || two.is_ready());
    assert!(two.has_revoked(&victim) && two.has_revoked(&stored));
    assert!(one.is_ready(), "{}", one.log());
    assert!(!one.log().contains("lost Redis"), "{}", one.log());
}

/// Everything that was on a stream is gone: it is begun anew, by all and at once.
#[test]
fn a_stream_that_is_emptied_is_begun_anew() {
    let all = Cluster::default();
    let companion = named(&all, "one").started();
    let stream = all.owner(SESSIONS).unwrap();
    all.nodes[stream].revoke("before");
    until("known", SOON, || companion.has_revoked("before"));
    let deleted: i64 = all.nodes[stream].ask(&["DEL", SESSIONS]);
    assert_eq!(deleted, 1);
    until("noticed", SOON, || {
        companion.log().contains("the stream went backwards")
    });
    all.nodes[stream].revoke("after");
    until("well again", SOON, || {
        companion.is_ready() && companion.has_revoked("after")
    });
    assert!(companion.has_revoked("before"));
}
