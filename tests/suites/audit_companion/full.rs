//! There is no more room, or the disk does not write.

use super::*;

/// Posts until there is no room; how many were accepted.
fn fill(companion: &Companion) -> usize {
    let mut count = 0;
    loop {
        let text = "x".repeat(1_000);
        let batch: Vec<Value> = (count..count + 100)
            .map(|n| event(n, json!({"metadata": {"resource": text, "reason": text}})))
            .collect();
        let answer = send(companion, &batch);
        if answer.status == 503 {
            assert_eq!(answer.error(), "audit_full");
            assert!(answer.header("retry-after").is_some());
            return count;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        count += 100;
        assert!(count < 10_000);
    }
}

#[test]
fn a_full_queue_takes_none_and_loses_none() {
    let mut redis = Redis::default();
    let folder = folder("audit");
    let companion = audited(&redis.url(), &folder)
        .with(&["--audit-max-bytes", "4194304"])
        .started();
    redis.kill();
    let count = fill(&companion);
    assert!(count > 500, "{count}");
    let size: u64 = files(&folder, "audit")
        .iter()
        .map(|file| file.metadata().unwrap().len())
        .sum();
    assert!(size <= 4_194_304, "{size}");
    assert!(size > 3_500_000, "{size}");
    // Again and again, and it is told once.
    for _ in 0..5 {
        assert_eq!(fill_one(&companion).status, 503);
    }
    assert_eq!(
        companion
            .log()
            .matches("the queue of audit events is full")
            .count(),
        1
    );
    assert_eq!(
        companion.metric(r#"caracal_feed_audit_refused_total{cause="full"}"#),
        600.0
    );
    redis.restart();
    let arrived = until_arrived(&redis, count);
    assert_eq!(ids(&arrived), (0..count).map(id).collect::<Vec<_>>());
    until("there is room again", SOON, || {
        fill_one(&companion).status == 200
    });
}

/// A batch of its own ids, of the same size.
fn fill_one(companion: &Companion) -> Response {
    let text = "x".repeat(1_000);
    let batch: Vec<Value> = (100_000..100_100)
        .map(|n| event(n, json!({"metadata": {"resource": text, "reason": text}})))
        .collect();
    send(companion, &batch)
}

/// A limit of the process stands for a disk that is full in the middle of a write.
#[test]
fn a_disk_that_does_not_write_takes_none() {
    let redis = Redis::default();
    let folder = folder("audit");
    let companion = audited(&redis.url(), &folder).outliving_limits().started();
    accepted(&companion, &events(0..10));
    until_arrived(&redis, 10);
    let size = || files(&folder, "audit")[0].metadata().unwrap().len();
    let before = size();
    companion.limit_files(50_000);
    let answer = send(&companion, &events(10..200));
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (503, "audit_not_durable")
    );
    assert!(answer.header("retry-after").is_some());
    // Nothing of it may be delivered, after a restart either.
    assert_eq!(size(), before);
    companion.limit_files(1 << 30);
    // The filter sends the same again.
    accepted(&companion, &events(10..200));
    assert_eq!(
        ids(&until_arrived(&redis, 200)),
        (0..200).map(id).collect::<Vec<_>>()
    );
    assert!(companion.log().contains("cannot be written to disk"));
}
