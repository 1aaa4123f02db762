//! The companion is killed, and what is on its disk is damaged.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

/// Four writers post; the companion is killed again and again. What was acknowledged
/// arrives, in each writer's order; what arrives was sent, and comes again only as it was.
#[test]
fn what_was_acknowledged_survives_being_killed_under_load() {
    let redis = Redis::default();
    let mut companion = audited(&redis.url(), &folder("audit")).started();
    let (next, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let acknowledged: Mutex<Vec<(usize, Vec<usize>)>> = Mutex::default();
    let address = companion.address;
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (next, done, acknowledged) = (&next, &done, &acknowledged);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    let first = next.fetch_add(20, Ordering::SeqCst);
                    let body = json!({"events": events(first..first + 20)});
                    // As a filter does: the same again until there is an answer.
                    while !done.load(Ordering::SeqCst) {
                        if post(address, &body).is_some_and(|status| status == 200) {
                            let numbers = (first..first + 20).collect();
                            acknowledged.lock().unwrap().push((writer, numbers));
                            break;
                        }
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
            });
        }
        for round in 1..6 {
            let goal = round * 400;
            until("they are taken", SOON, || {
                acknowledged.lock().unwrap().len() * 20 >= goal
            });
            companion.kill();
            companion.start();
        }
        done.store(true, Ordering::SeqCst);
    });
    let acknowledged = acknowledged.into_inner().unwrap();
    let all: BTreeSet<String> = acknowledged
        .iter()
        .flat_map(|(_, numbers)| numbers)
        .map(|n| id(*n))
        .collect();
    until("everything arrives", SOON, || {
        let seen: BTreeSet<String> = ids(&arrived(&redis)).into_iter().collect();
        all.is_subset(&seen)
    });
    let mut first: Vec<Stored> = Vec::new();
    let mut places = std::collections::BTreeMap::new();
    for stored in arrived(&redis) {
        let known = *places.entry(stored.id().to_owned()).or_insert(first.len());
        match first.get(known) {
            Some(known) => assert_eq!(*known, stored),
            None => first.push(stored),
        }
    }
    let sent = next.load(Ordering::SeqCst);
    assert!(
        ids(&first)
            .iter()
            .all(|seen| (0..sent).any(|n| id(n) == *seen))
    );
    for writer in 0..4 {
        let own = acknowledged
            .iter()
            .filter(|(by, _)| *by == writer)
            .flat_map(|(_, numbers)| numbers);
        let own: Vec<usize> = own.map(|n| places[&id(*n)]).collect();
        assert!(own.is_sorted(), "writer {writer}");
    }
}

fn post(address: std::net::SocketAddr, body: &Value) -> Option<u32> {
    let body = body.to_string();
    let size = body.len().to_string();
    let headers = [
        ("content-length", size.as_str()),
        ("content-type", "application/json"),
        ("authorization", &format!("Bearer {TOKEN}")),
    ];
    let mut bytes = request("POST", "/v1/audit", &headers);
    bytes.extend_from_slice(body.as_bytes());
    let mut client = Client::try_connect(address).ok()?;
    Some(client.exchange(&bytes).ok()?.status.into())
}

#[test]
fn damage_on_disk_costs_what_it_hit_and_is_kept() {
    let mut redis = Redis::default();
    let folder = folder("audit");
    let mut companion = audited(&redis.url(), &folder).started();
    redis.kill();
    accepted(&companion, &events(0..100));
    companion.kill();
    let file = files(&folder, "audit").pop().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let torn = bytes.len() - 10;
    bytes.truncate(torn);
    std::fs::write(&file, &bytes).unwrap();
    companion.start();
    assert_eq!(companion.metric("caracal_feed_audit_corrupt_total"), 1.0);
    accepted(&companion, &events(100..110));
    redis.restart();
    let seen = ids(&until_arrived(&redis, 108));
    let expected: Vec<String> = (0..99).chain(100..110).map(id).collect();
    let lost: Vec<&String> = expected.iter().filter(|id| !seen.contains(id)).collect();
    assert_eq!((seen.len(), lost.len()), (108, 1), "{lost:?}");
    assert!(seen.is_sorted());
    until("the damaged file is kept", SOON, || {
        files(&folder, "corrupt").len() == 1
    });
    assert!(companion.log().contains("it is kept"));
    assert!(companion.log().contains("cut off by a crash"));
}
