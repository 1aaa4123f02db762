//! What is wrong, hostile or strange.

use super::*;

#[test]
fn a_bad_event_does_not_spoil_a_batch() {
    let redis = Redis::default();
    let companion = audited(&redis.url(), &folder("audit")).started();
    let bad = [
        json!("x"),
        event(100, json!({"event_type": "token_exchange"})),
        event(101, json!({"request_id": "a b"})),
        event(102, json!({"request_id": "SECRET-VALUE/"})),
        event(103, json!({"metadata": {"resource": "r".repeat(1_025)}})),
        event(104, json!({"occurred_at_us": "yesterday"})),
        event(105, json!({"event_type": "SECRET-VALUE"})),
    ];
    let mut batch = events(0..1);
    for (n, bad) in bad.iter().enumerate() {
        batch.push(bad.clone());
        batch.extend(events(1 + n..2 + n));
    }
    let answer = send(&companion, &batch);
    assert_eq!(answer.json(), json!({"accepted": 8, "rejected": 7}));
    // Nothing good in it is an answer too.
    let answer = send(&companion, &bad);
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"accepted": 0, "rejected": 7}))
    );
    assert_eq!(
        ids(&until_arrived(&redis, 8)),
        (0..8).map(id).collect::<Vec<_>>()
    );
    assert_eq!(companion.metric("caracal_feed_audit_rejected_total"), 14.0);
    let log = companion.log();
    assert_eq!(log.matches("audit events were wrong").count(), 1, "{log}");
    assert!(!log.contains("SECRET-VALUE"));
}

/// A newer filter is not cut off, and what it sends more is stored nowhere.
#[test]
fn unknown_members_are_ignored() {
    let redis = Redis::default();
    let folder = folder("audit");
    let companion = audited(&redis.url(), &folder).started();
    let mut more = event(
        0,
        json!({"SECRET-VALUE": 1, "session": {"id": "SECRET-VALUE"}}),
    );
    more["metadata"]["token"] = json!("SECRET-VALUE");
    accepted(&companion, &[more]);
    let arrived = until_arrived(&redis, 1);
    let mut places = vec![arrived[0].data.clone(), companion.log().into_bytes()];
    let kept = files(&folder, "audit");
    places.extend(kept.iter().map(|file| std::fs::read(file).unwrap()));
    for place in places {
        assert!(!String::from_utf8_lossy(&place).contains("SECRET-VALUE"));
    }
}

#[test]
fn strange_texts_are_stored_clean_or_not_at_all() {
    let redis = Redis::default();
    let companion = audited(&redis.url(), &folder("audit")).started();
    let texts: [(&[u8], Option<&str>); 8] = [
        (b"a\\u0000b", Some("ab")),
        (b"a\\u001b[2Jb", Some("a[2Jb")),
        (b"a\\ud800b", None),
        (b"\\udc00\\ud800", None),
        (b"\\ud83d\\ude00", Some("\u{1f600}")),
        (b"a\xffb", Some("a\u{fffd}b")),
        (b"a\x00b", Some("a b")),
        (b"\\\"\\\\", Some("\"\\")),
    ];
    let mut body = br#"{"events":["#.to_vec();
    for (n, (text, _)) in texts.iter().enumerate() {
        let event = event(n, json!({"metadata": {"resource": "?"}})).to_string();
        let (before, after) = event.split_once('?').unwrap();
        body.extend(
            [
                if n > 0 { &b","[..] } else { b"" },
                before.as_bytes(),
                text,
                after.as_bytes(),
            ]
            .concat(),
        );
    }
    body.extend(b"]}");
    let answer = companion.try_post("/v1/audit", &body, None).unwrap();
    assert_eq!(answer.json(), json!({"accepted": 6, "rejected": 2}));
    let arrived = until_arrived(&redis, 6);
    let expected: Vec<&str> = texts.iter().filter_map(|(_, text)| *text).collect();
    let seen: Vec<&str> = arrived
        .iter()
        .map(|stored| stored.event["metadata_json"]["resource"].as_str().unwrap())
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn the_largest_event_passes() {
    let redis = Redis::default();
    let companion = audited(&redis.url(), &folder("audit")).started();
    let names = [
        "application_id",
        "resource",
        "subject_kind",
        "method",
        "trace_id",
        "result_class",
        "agent_session_id",
        "delegation_edge_id",
        "error_kind",
        "reason",
        "upstream_host",
        "auth_mode",
        "provider_id",
        "connection_id",
    ];
    let metadata: serde_json::Map<_, _> = names
        .iter()
        .map(|name| ((*name).to_owned(), json!("\"".repeat(1_024))))
        .collect();
    accepted(
        &companion,
        &[event(
            0,
            json!({"zone_id": "z".repeat(1_024), "metadata": metadata}),
        )],
    );
    let arrived = until_arrived(&redis, 1);
    assert_eq!(
        arrived[0].event["metadata_json"].as_object().unwrap().len(),
        names.len()
    );
}

/// An id of this time, which is not before 1970.
fn id_at(us: i64, number: usize) -> String {
    let ms = format!("{:012x}", us / 1_000);
    format!("{}-{}-7000-8000-{number:012x}", &ms[..8], &ms[8..])
}

#[test]
fn times_that_cannot_be_are_those_of_the_id() {
    let redis = Redis::default();
    let companion = audited(&redis.url(), &folder("audit")).started();
    let day = 24 * 60 * 60 * 1_000_000;
    let now = now_us();
    let times = [now, now - 40 * day, 0, i64::MIN, now + 400 * day, i64::MAX];
    let batch = |id_us: i64| -> Vec<Value> {
        let events = times
            .iter()
            .enumerate()
            .map(|(n, at)| event(n, json!({"occurred_at_us": at, "id": id_at(id_us, n)})));
        events.collect()
    };
    accepted(&companion, &batch(now));
    let seen: Vec<i64> = until_arrived(&redis, 6)
        .iter()
        .map(|stored| {
            (stored.at().unix_timestamp_nanos() / 1_000)
                .try_into()
                .unwrap()
        })
        .collect();
    let of_id = now / 1_000 * 1_000;
    assert_eq!(seen, [now, of_id, of_id, of_id, of_id, of_id]);
    // Nothing says when they were.
    let answer = send(&companion, &batch(now - 2 * day));
    assert_eq!(answer.json(), json!({"accepted": 1, "rejected": 5}));
    assert!(companion.log().contains("the time of id"));
}
