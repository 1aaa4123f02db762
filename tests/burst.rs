//! A burst of signed revocations, with companions killed, paused and added
//! meanwhile: afterwards the store, every companion and the edge hold all.

use std::time::{Duration, Instant};

use caracal_feed::event::{Fields, HmacKey, Stream};
use serde_json::json;

use crate::edge::{Around, all_answer, flooded};
use crate::processes::{Companion, Redis, until};
use crate::redis_topology::Network;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const STREAM: &str = "caracal.sessions.revoke";
const GROUP: &str = "caracal-edge";
/// Commands of one pipeline.
const TOGETHER: usize = 1_000;
/// Mandates that are asked of the edge.
const SAMPLES: usize = 50;

/// How long the parts took.
#[derive(Debug)]
pub struct Took {
    pub written: Duration,
    pub shared: Duration,
    pub known: Duration,
    pub refused: Duration,
}

fn companion(url: &str, name: &str) -> Companion {
    Companion::new(&[
        "--redis-url",
        url,
        "--require-signature",
        "--consumer",
        name,
    ])
    .environment("STREAMS_HMAC_KEY", KEY)
}

/// Publishes as the control plane does: signed, and the stream trimmed to about so
/// many.
fn publish(redis: &Redis, first: usize, last: usize, kept: usize) {
    let key = HmacKey::from_hex(KEY).unwrap();
    let mut connection = redis.connection();
    for from in (first..last).step_by(TOGETHER) {
        let mut pipeline = redis::pipe();
        for n in from..last.min(from + TOGETHER) {
            let mut fields = Fields::from([
                (b"zone_id".to_vec(), b"z".to_vec()),
                (b"session_id".to_vec(), flooded(n).into_bytes()),
            ]);
            key.sign(Stream::Revocations, &mut fields);
            pipeline
                .cmd("XADD")
                .arg(&[STREAM, "MAXLEN", "~", &kept.to_string(), "*"]);
            for (name, value) in &fields {
                pipeline.arg(name).arg(value);
            }
            pipeline.ignore();
        }
        let () = pipeline.query(&mut connection).unwrap();
    }
}

/// Whether the store has a key for each, from where it was last found whole.
fn is_shared(redis: &Redis, sessions: usize, whole: &mut usize) -> bool {
    let mut connection = redis.connection();
    while *whole < sessions {
        let last = sessions.min(*whole + TOGETHER);
        let mut command = redis::cmd("EXISTS");
        for n in *whole..last {
            command.arg(format!("caracal:revoked:sessions:{}", flooded(n)));
        }
        if command.query::<usize>(&mut connection).unwrap() < last - *whole {
            return false;
        }
        *whole = last;
    }
    true
}

/// Whether a companion calls each revoked, from where it last did.
fn is_known(companion: &Companion, sessions: usize, whole: &mut usize) -> bool {
    while *whole < sessions {
        let last = sessions.min(*whole + 100);
        let anchors: Vec<String> = (*whole..last).map(flooded).collect();
        let answer = companion.post("/v1/check", &json!({"anchors": anchors}), None);
        if answer.status != 200
            || answer.json()["revoked"].as_array().map(Vec::len) != Some(last - *whole)
        {
            return false;
        }
        *whole = last;
    }
    true
}

/// Whether the group was given all and has acknowledged all. What was trimmed before
/// makes its lag unknown to Redis, so ids are compared.
fn is_acknowledged(redis: &Redis) -> bool {
    let value = |info: &[(String, redis::Value)], name: &str| {
        info.iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    let stream: Vec<(String, redis::Value)> = redis.ask(&["XINFO", "STREAM", STREAM]);
    let groups: Vec<Vec<(String, redis::Value)>> = redis.ask(&["XINFO", "GROUPS", STREAM]);
    let ours = Some(redis::Value::BulkString(GROUP.into()));
    let group = groups.iter().find(|group| value(group, "name") == ours);
    group.is_some_and(|group| {
        value(group, "last-delivered-id") == value(&stream, "last-generated-id")
            && value(group, "pending") == Some(redis::Value::Int(0))
    })
}

/// Runs it, and fails if anything is missing anywhere in the end. Of the stream about
/// `kept` are kept: what a companion did not read meanwhile is in the store only.
pub fn run(sessions: usize, kept: usize, delay: Duration, within: Duration) -> Took {
    let redis = Redis::start(&[]);
    let network = Network::default();
    let wire = network.wire(1, redis.address);
    network.delay(delay);
    let url = format!("redis://{}", wire.address);
    let mut all = vec![
        companion(&url, "stays").started(),
        companion(&url, "paused").started(),
        companion(&url, "killed").started(),
    ];
    let around = Around::default();
    let envoy = around.envoy(all[0].address);
    let edge = envoy.listener(0);
    let free = around.of_session("free");
    until("the edge is ready", Duration::from_secs(20), || {
        all_answer(edge, &free, 200, "")
    });

    let began = Instant::now();
    let (third, two_thirds) = (sessions / 3, sessions * 2 / 3);
    publish(&redis, 0, third, sessions);
    all[1].pause();
    publish(&redis, third, two_thirds, sessions);
    all[2].kill();
    let mut added = companion(&url, "added");
    added.start();
    all.push(added);
    publish(&redis, two_thirds, sessions, sessions);
    let written = began.elapsed();
    // Trimmed once one has read it, and before the paused and the killed one have: no
    // speed of a machine decides what is lost.
    let mut whole = 0;
    until("the one that stays knows all", within, || {
        is_known(&all[0], sessions, &mut whole)
    });
    let trimmed: usize = redis.ask(&["XTRIM", STREAM, "MAXLEN", &kept.to_string()]);
    assert_eq!(trimmed, sessions - kept);
    std::thread::sleep(Duration::from_secs(2));
    all[1].resume();
    all[2].start();

    for companion in &all {
        let mut whole = 0;
        until("every companion knows all", within, || {
            is_known(companion, sessions, &mut whole)
        });
        until("it is ready", within, || companion.is_ready());
    }
    let known = began.elapsed();
    let mut whole = 0;
    until("the store has all", within, || {
        is_shared(&redis, sessions, &mut whole)
    });
    // What a killed one held is claimed after 30 s.
    until("all is acknowledged", within, || is_acknowledged(&redis));
    let shared = began.elapsed();
    for n in 0..SAMPLES {
        let token = around.of_session(&flooded(n * (sessions - 1) / (SAMPLES - 1)));
        until("the edge refuses it", within, || {
            all_answer(edge, &token, 401, "session_revoked")
        });
    }
    until("the edge admits", within, || {
        all_answer(edge, &free, 200, "")
    });
    Took {
        written,
        shared,
        known,
        refused: began.elapsed(),
    }
}
