//! The published Redis connector and ours on one Redis: what one marks the other
//! refuses, and their dead letters look alike. Needs a Python for the connector;
//! where `REQUIRE_ORACLE` is set, as in CI, there must be one.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use caracal_feed::event::{Fields, HmacKey, Stream};
use caracal_tests::edge::{Around, all_answer};
use caracal_tests::processes::{Companion, Redis, until};
use serde_json::{Value, json};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const SOON: Duration = Duration::from_secs(15);

/// `None` where there is no Python for it.
fn connector(words: &[&str]) -> Option<Value> {
    let script = caracal_tests::root().join("tests/conformance/oracle/run.py");
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let done = Command::new(python)
        .arg(script)
        .arg("redis")
        .args(words)
        .output()
        .unwrap();
    if done.status.code() == Some(3) && std::env::var_os("REQUIRE_ORACLE").is_none() {
        println!("skipped: no Python for the connector");
        return None;
    }
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    Some(serde_json::from_slice(&done.stdout).unwrap())
}

fn add(redis: &Redis, stream: Stream, pairs: &[(&str, &str)], sign: bool) {
    let pairs = pairs
        .iter()
        .map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec()));
    let mut fields: Fields = pairs.collect();
    if sign {
        HmacKey::from_hex(KEY).unwrap().sign(stream, &mut fields);
    }
    let mut command = redis::cmd("XADD");
    command.arg(stream.key()).arg("*");
    for (name, value) in &fields {
        command.arg(name).arg(value);
    }
    let _: String = command.query(&mut redis.connection()).unwrap();
}

/// Reason and payload of each dead letter, in order.
fn dead_letters(redis: &Redis, stream: Stream) -> Vec<(String, Value)> {
    let dead: Vec<(String, BTreeMap<String, String>)> =
        redis.ask(&["XRANGE", stream.dead_letters(), "-", "+"]);
    let read = |(_, fields): (String, BTreeMap<String, String>)| {
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        assert_eq!(names, ["payload", "reason", "source_id"]);
        let payload = serde_json::from_str(&fields["payload"]).unwrap();
        (
            format!("{} {}", fields["source_id"], fields["reason"]),
            payload,
        )
    };
    dead.into_iter().map(read).collect()
}

#[test]
fn each_honours_what_the_other_marks() {
    let redis = Redis::default();
    let url = redis.url();
    // Both signatures are right for both.
    for (stream, pairs) in [
        (
            Stream::Revocations,
            vec![
                ("zone_id", "z"),
                ("session_id", "streamed"),
                ("reason", "é\n="),
            ],
        ),
        (
            Stream::Delegations,
            vec![("zone_id", "zone-1"), ("epoch", "4")],
        ),
    ] {
        add(&redis, stream, &pairs, true);
    }
    let Some(handled) = connector(&["consume", &url, KEY]) else {
        return;
    };
    assert_eq!(handled["handled"], json!(2));
    connector(&["mark", &url, "marked"]).unwrap();

    let companion = Companion::new(&["--redis-url", &url, "--require-signature"])
        .environment("STREAMS_HMAC_KEY", KEY)
        .started();
    let around = Around::default();
    let envoy = around.envoy(companion.address);
    let edge = envoy.listener(0);
    for sid in ["streamed", "marked"] {
        let token = around.of_session(sid);
        until(sid, SOON, || {
            all_answer(edge, &token, 401, "session_revoked")
        });
    }
    let stale = around.mandate(json!({"delegation_graph_epoch": 3}));
    until("stale", SOON, || {
        all_answer(edge, &stale, 401, "delegation_stale")
    });

    // The other way round: what ours marks, its store reports.
    add(
        &redis,
        Stream::Revocations,
        &[("agent_session_id", "ours")],
        true,
    );
    add(
        &redis,
        Stream::Delegations,
        &[("zone_id", "zone-1"), ("epoch", "12")],
        true,
    );
    let ask = || connector(&["ask", &url, "zone-1", "ours", "streamed", "free"]).unwrap();
    let expected = json!({"revoked": ["ours", "streamed"], "epoch": 12});
    until("its store reports it", SOON, || ask() == expected);
    // Neither lowers what the other raised.
    connector(&["epoch", &url, "zone-1", "11"]).unwrap();
    assert_eq!(ask()["epoch"], json!(12));
    connector(&["epoch", &url, "zone-1", "13"]).unwrap();
    add(
        &redis,
        Stream::Delegations,
        &[("zone_id", "zone-1"), ("epoch", "12")],
        true,
    );
    until("acknowledged", SOON, || {
        let groups: Vec<BTreeMap<String, redis::Value>> =
            redis.ask(&["XINFO", "GROUPS", Stream::Delegations.key()]);
        let ours = groups
            .iter()
            .find(|g| redis::from_redis_value_ref::<String>(&g["name"]).unwrap() == "caracal-edge");
        let ours = ours.unwrap();
        let int = |name: &str| redis::from_redis_value_ref::<i64>(&ours[name]).unwrap();
        int("pending") == 0 && int("lag") == 0
    });
    assert_eq!(ask()["epoch"], json!(13));
}

#[test]
fn dead_letters_have_one_shape_and_both_groups_share_a_stream() {
    let bad: Vec<(Stream, Vec<(&str, &str)>, bool)> = vec![
        (
            Stream::Revocations,
            vec![("sid", "forged"), ("_sig", "00")],
            false,
        ),
        (
            Stream::Revocations,
            vec![("sid", "unsigned"), ("reason", "é\"\n")],
            false,
        ),
        (
            Stream::Revocations,
            vec![("zone_id", "z"), ("sid", "")],
            true,
        ),
        (
            Stream::Delegations,
            vec![("zone_id", "z"), ("epoch", "x")],
            true,
        ),
        (
            Stream::Delegations,
            vec![("zone_id", ""), ("epoch", "1")],
            true,
        ),
    ];
    let redis = Redis::default();
    for (stream, pairs, sign) in &bad {
        add(&redis, *stream, pairs, *sign);
    }
    let Some(_) = connector(&["consume", &redis.url(), KEY]) else {
        return;
    };
    let theirs: Vec<_> = Stream::ALL
        .map(|stream| dead_letters(&redis, stream))
        .concat();
    assert_eq!(theirs.len(), bad.len());
    let companion = Companion::new(&["--redis-url", &redis.url()])
        .environment("STREAMS_HMAC_KEY", KEY)
        .started();
    let both = || Stream::ALL.map(|stream| dead_letters(&redis, stream));
    until("ours too", SOON, || both().concat().len() == 2 * bad.len());
    let sorted = |mut letters: Vec<(String, Value)>| {
        letters.sort_by(|a, b| a.0.cmp(&b.0));
        letters
    };
    let ours = both()
        .map(|letters| letters[letters.len() / 2..].to_vec())
        .concat();
    assert_eq!(sorted(ours), sorted(theirs));
    let groups: Vec<BTreeMap<String, redis::Value>> =
        redis.ask(&["XINFO", "GROUPS", Stream::Revocations.key()]);
    assert_eq!(groups.len(), 2);
    drop(companion);
}
