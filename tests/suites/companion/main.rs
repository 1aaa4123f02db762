//! `caracal-edge feed` with a real Redis: what it takes from the streams, what it
//! leaves there, and what it survives.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use caracal_feed::event::{Fields, HmacKey, Stream};
use caracal_tests::processes::{Companion, Mode, Redis, Wire, folder, until};
use caracal_tests::servers::{Client, request};
use redis::Value as RedisValue;
use serde_json::{Value, json};

mod api;
mod connections;
mod events;
mod flood;
mod hostile;
mod hostile_writers;
mod outages;
mod starts;
mod tls;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const SESSIONS: &str = "caracal.sessions.revoke";
const DELEGATIONS: &str = "caracal.delegations.invalidate";
const SOON: Duration = Duration::from_secs(10);

fn stream(key: &str) -> Stream {
    if key == SESSIONS {
        Stream::Revocations
    } else {
        Stream::Delegations
    }
}

/// Adds a message, signed with a key if there is one.
fn add(redis: &Redis, to: &str, pairs: &[(&str, &[u8])], key: Option<&str>) -> String {
    let pairs = pairs
        .iter()
        .map(|(n, v)| (n.as_bytes().to_vec(), v.to_vec()));
    let mut fields: Fields = pairs.collect();
    if let Some(key) = key {
        HmacKey::from_hex(key)
            .unwrap()
            .sign(stream(to), &mut fields);
    }
    let mut command = redis::cmd("XADD");
    command.arg(to).arg("*");
    for (name, value) in &fields {
        command.arg(name).arg(value);
    }
    command.query(&mut redis.connection()).unwrap()
}

fn revoke(redis: &Redis, sid: &str) -> String {
    add(
        redis,
        SESSIONS,
        &[("zone_id", b"z"), ("session_id", sid.as_bytes())],
        None,
    )
}

fn pending(redis: &Redis, stream: &str) -> i64 {
    let (pending, ..): (i64, RedisValue, RedisValue, RedisValue) =
        redis.ask(&["XPENDING", stream, "caracal-edge"]);
    pending
}

fn dead_letters(redis: &Redis, stream: &str) -> Vec<BTreeMap<String, String>> {
    let dead: Vec<(String, BTreeMap<String, String>)> =
        redis.ask(&["XRANGE", &format!("{stream}.dead"), "-", "+"]);
    dead.into_iter().map(|(_, fields)| fields).collect()
}
