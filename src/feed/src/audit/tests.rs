use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::Registry;
use serde_json::json;

use super::*;

const REPLAY: Replay<'_> = Replay {
    mandate: "a.b.c",
    zone: "z",
    jti: "j",
    client: "app-1",
    resource: "resource://x",
    request_id: "r-1",
};

/// Nothing writes: an agent that replays takes the places of replays, and no batch's.
#[tokio::test]
async fn replays_do_not_keep_batches_out() {
    let (jobs, mut asked) = mpsc::channel(MAX_JOBS);
    let counts = Counts::new(&Registry::new()).unwrap();
    let recent = Arc::new(Recent::beginning(0));
    let audit = Arc::new(Audit::new(jobs, None, recent, counts));
    for _ in 0..2 * MAX_JOBS {
        audit.replayed(&REPLAY);
    }
    assert_eq!(asked.len(), MAX_REPLAYS);
    let batches: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let audit = Arc::clone(&audit);
            tokio::spawn(async move {
                let event = json!({
                    "id": product::new_id(i64::try_from(now_us()).unwrap()).to_string(), "occurred_at_us": now_us(),
                    "zone_id": "z", "event_type": "edge_resource_request", "request_id": "r-1",
                    "decision": "allow", "evaluation_status": "executed",
                });
                let body = json!({"events": [event]}).to_string();
                audit.take(body.as_bytes()).await.ok()
            })
        })
        .collect();
    let (mut replays, mut taken) = (0, 0);
    while taken < AT_ONCE {
        let job = asked.recv().await.unwrap();
        match job.done {
            Some(done) => {
                taken += 1;
                done.send(Ok(0)).unwrap();
            }
            None => replays += 1,
        }
    }
    assert_eq!(replays, MAX_REPLAYS);
    for batch in batches {
        assert_eq!(batch.await.unwrap(), Some((1, 0)));
    }
    // What was written makes room.
    audit.replayed(&REPLAY);
    assert_eq!(asked.len(), 1);
}

#[test]
fn a_thread_that_panics_is_noticed_and_one_that_ends_is_none() {
    let noticed = Arc::new(AtomicUsize::new(0));
    for (fails, expected) in [(false, 0), (true, 1)] {
        let noticed_there = Arc::clone(&noticed);
        let ended = std::thread::spawn(move || {
            let _guard = Guard(|| {
                noticed_there.fetch_add(1, Ordering::SeqCst);
            });
            assert!(!fails, "on purpose");
        });
        assert_eq!(ended.join().is_err(), fails);
        assert_eq!(noticed.load(Ordering::SeqCst), expected);
    }
}
