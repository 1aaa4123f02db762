//! Input: a mode, then either what Redis sends, byte by byte, or fields of a hostile
//! message with a NUL behind each, which stands between two good ones. Whatever comes
//! is read or refused: nothing panics, no good message beside a bad one is lost, what
//! was known stays known, and no more is held than came in.

use caracal_feed::event::{Event, Stream};
use caracal_feed::redis::account::{Account, Step};
use caracal_feed::redis::reply::{Body, Message, group_reading, messages, reading};
use caracal_feed::state::State;
use redis::{Value, parse_redis_value};

use crate::{byte, until};

const LIFE_MS: u64 = 3_600_000;

pub fn check(data: &[u8]) {
    let mut data = data;
    if byte(&mut data) & 1 == 0 {
        raw(data);
    } else {
        between(data);
    }
}

/// Bytes of a connection.
fn raw(data: &[u8]) {
    let Ok(value) = parse_redis_value(data) else {
        return;
    };
    let state = State::new(100, None);
    state.revoke("known", std::time::Duration::from_secs(1_000));
    let (_, _, _, _, of_group) = group_reading(value.clone());
    let mut all = [messages(value.clone()), of_group].concat();
    if let Ok(reading) = reading(value) {
        let mut account = Account::new();
        // Twice, as when a stream is not the one that was read.
        for _ in 0..2 {
            if let Step::Take { gap } = account.judge(&reading, LIFE_MS) {
                assert!(account.counted() <= reading.added.max(account.counted()));
                assert!(gap.is_none_or(|gap| gap.missing > 0));
            }
        }
        all.extend(reading.messages);
    }
    let held: usize = all.iter().map(size).sum();
    assert!(held <= 3 * data.len() + 100, "{held} of {}", data.len());
    apply(&state, &all);
    assert!(state.len() <= 100);
    assert_eq!(state.news(0, 1).0.len(), 1, "what was known is known");
}

fn size(message: &Message) -> usize {
    match &message.body {
        Body::Fields(fields) => fields.iter().map(|(n, v)| n.len() + v.len()).sum(),
        _ => 0,
    }
}

fn apply(state: &State, all: &[Message]) {
    for message in all {
        let Body::Fields(fields) = &message.body else {
            continue;
        };
        for stream in Stream::ALL {
            if let Ok(event) = Event::read(stream, fields, None) {
                state.apply(&event, None);
            }
        }
    }
}

/// A hostile message between two good ones, in an answer as our script gives it.
fn between(mut data: &[u8]) {
    let mut hostile = Vec::new();
    while !data.is_empty() && hostile.len() < 64 {
        let part = until(&mut data, 0).to_vec();
        hostile.push(match part.first() {
            Some(b':') => Value::Int(part.len() as i64),
            Some(b'*') => Value::Array(vec![Value::BulkString(part)]),
            Some(b'_') => Value::Nil,
            _ => Value::BulkString(part),
        });
    }
    let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
    let message = |id: &str, fields| Value::Array(vec![text(id), Value::Array(fields)]);
    let good = |id: &str, sid: &str| message(id, vec![text("sid"), text(sid)]);
    let list = Value::Array(vec![
        good("1-0", "before"),
        message("2-0", hostile.clone()),
        Value::Array(hostile),
        good("3-0", "after"),
    ]);
    let answer = Value::Array(vec![
        text("master"),
        text("reign"),
        Value::Int(3),
        Value::Int(3),
        text("3-0"),
        text("1-0"),
        Value::Nil,
        text("5"),
        Value::Int(0),
        list,
    ]);
    let reading = reading(answer).unwrap();
    assert!(reading.messages.len() >= 3);
    let state = State::new(1_000, None);
    state.stand_alone();
    apply(&state, &reading.messages);
    let asked = ["before".to_owned(), "after".to_owned()];
    let (revoked, ..) = state.check(&asked, "").unwrap();
    assert_eq!(revoked, asked);
}
