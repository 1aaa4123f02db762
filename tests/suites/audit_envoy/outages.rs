//! Companion and Redis are killed while requests come. Each event is delivered, or counted
//! as dropped.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

const DECISIONS: u64 = 10_000;
const CLIENTS: u64 = 4;

/// One event for each id, although the stream may have it twice: a companion that is killed
/// delivers again what it has not noted as delivered, byte for byte the same.
fn by_id(redis: &Redis) -> BTreeMap<String, consumer::Stored> {
    let mut events: BTreeMap<String, consumer::Stored> = BTreeMap::new();
    for fields in consumer::raw(redis) {
        let event = consumer::stored(&fields, KEY);
        if let Some(first) = events.get(event.id()) {
            assert_eq!(first, &event);
        }
        events.insert(event.id().to_owned(), event);
    }
    events
}

#[test]
fn each_of_ten_thousand_decisions_is_delivered_or_counted_as_dropped() {
    let mut scene = Scene::new();
    // Every request counts, those of the start too.
    let before = scene.sent.get();
    until("the start is recorded", SOON, || {
        decided(&scene) == before && by_id(&scene.redis).len() as u64 == before
    });
    let sent = AtomicU64::new(0);
    let (good, listener) = (scene.around.mandate(json!({})), scene.envoy.listener(0));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (sent, good) = (&sent, good.as_str());
            scope.spawn(move || {
                let mut connection = Client::connect(listener);
                for n in 0..DECISIONS / CLIENTS {
                    let id = format!("d-{client}-{n}");
                    // More without a mandate than are recorded a second.
                    let mandate = (n % 2 == 0).then_some(good);
                    let headers = [("x-request-id", id.as_str())];
                    let reply = connection.get("/x", mandate, &headers);
                    assert_eq!(reply.status, if n % 2 == 0 { 200 } else { 401 }, "{id}");
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let reached = |share: u64| {
            until(&format!("{share} of ten"), SOON * 4, || {
                sent.load(Ordering::Relaxed) >= DECISIONS / 10 * share
            });
        };
        reached(1);
        scene.companion.kill();
        reached(2);
        scene.companion.start();
        reached(3);
        scene.redis.kill();
        reached(5);
        scene.companion.kill();
        reached(7);
        scene.companion.start();
        reached(8);
        scene.redis.restart();
        reached(9);
        scene.companion.kill();
        scene.companion.start();
    });
    // A filter adds to its metrics at a tick.
    let all = before + DECISIONS;
    until("all are counted", SOON, || decided(&scene) == all);
    until("each is delivered or dropped", SOON * 2, || {
        let dropped = scene.envoy.metric("caracal_audit_dropped_total");
        by_id(&scene.redis).len() as u64 + dropped == all
    });
    let events = by_id(&scene.redis);
    // What the companion has acknowledged is what was delivered.
    until("the filter knows what the companion has", SOON, || {
        scene.envoy.metric("caracal_audit_sent_total") == events.len() as u64
    });
    // Each is of another request.
    let requests: BTreeSet<&str> = events
        .values()
        .filter_map(|stored| stored.event["request_id"].as_str())
        .filter(|id| id.starts_with("d-"))
        .collect();
    let more = events.len() - requests.len();
    assert_eq!(more as u64, before, "the start's");
}

/// Decisions of both workers, whatever they were.
fn decided(scene: &Scene) -> u64 {
    let lines = scene.envoy.prometheus();
    let samples = lines.iter().filter(|line| !line.starts_with('#'));
    let counted = samples.filter_map(|line| {
        let (name, number) = line.rsplit_once(' ')?;
        name.contains("caracal_decisions_total")
            .then(|| number.parse::<u64>().unwrap())
    });
    counted.sum()
}
