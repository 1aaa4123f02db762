//! Reads Redis's answers as bytes. Whoever may write to a stream chooses names, values
//! and sizes. So nothing in an answer may stop a reading: a part with an unexpected shape
//! is left out, and no text of an answer gets into an error.

use redis::{ErrorKind, RedisError, RedisResult, Value};

use crate::event::Fields;

pub use crate::state::position::Id;

/// The content of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Its fields.
    Fields(Fields),
    /// The message is larger than Caracal's ever are. These are its size, and its fields
    /// that have a meaning. The others were not fetched.
    Large(u64, Fields),
    /// The message was trimmed or deleted while it was pending.
    Gone,
}

/// A message of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: Id,
    /// Its content.
    pub body: Body,
}

/// Messages after a position, and the state of the stream at the same moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The server is a master.
    pub master: bool,
    /// Names this server's reign as a master. It changes with every promotion, restart
    /// and full resynchronisation. Empty if Redis does not give it.
    pub reign: String,
    /// The stream's own name. It changes when the stream is replaced, or its ids went
    /// backwards.
    pub name: String,
    /// Number of messages ever added.
    pub added: u64,
    /// Number of messages that are there now.
    pub length: u64,
    /// Id of the first message; `None` if there is none.
    pub first: Option<Id>,
    /// The newest id ever given.
    pub last: Id,
    /// The part that is known to be in the shared store.
    pub covered: Covered,
    /// Redis's clock, in milliseconds.
    pub time_ms: u64,
    /// There are more messages than these.
    pub more: bool,
    /// The messages.
    pub messages: Vec<Message>,
    /// The newest message that was ever deleted. Trimming does not count.
    pub deleted: Id,
    /// The first or the last message is larger than 64 KiB.
    pub heavy: bool,
}

/// This many messages, from the first ever added, are known to be in the shared store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Covered {
    /// How many.
    pub count: u64,
    /// In a cluster, the reigns of the servers to which they were written.
    pub reigns: String,
}

impl Covered {
    fn read(text: &str) -> Self {
        let (count, reigns) = text.split_once(' ').unwrap_or((text, ""));
        let hex = reigns.bytes().all(|byte| byte.is_ascii_hexdigit());
        match count.parse() {
            Ok(count) if hex => Covered {
                count,
                reigns: reigns.to_owned(),
            },
            _ => Covered::default(),
        }
    }
}

/// The state of a consumer group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupView {
    /// The last message that was delivered to it.
    pub delivered: Id,
    /// Number of messages that were delivered and not acknowledged.
    pub pending: u64,
    /// Number of messages that were read, as Redis counts; `None` if it lost count.
    pub read: Option<u64>,
    /// Number of messages that it still has to read, as Redis counts.
    pub lag: Option<u64>,
}

/// The error for an answer with an unexpected shape. It contains nothing of the answer.
pub fn misshapen(what: &'static str) -> RedisError {
    (ErrorKind::UnexpectedReturnType, what).into()
}

/// The members of a list; none for anything else.
pub fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) | Value::Set(items) => items,
        _ => Vec::new(),
    }
}

/// The bytes of a text; `None` for anything else.
pub fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        Value::Okay => Some(b"OK".to_vec()),
        Value::Int(number) => Some(number.to_string().into_bytes()),
        _ => None,
    }
}

/// A text in UTF-8; `None` for anything else.
pub fn text(value: Value) -> Option<String> {
    bytes(value).and_then(|bytes| String::from_utf8(bytes).ok())
}

/// A number that is not negative, also if it is written as text.
pub fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        Value::SimpleString(text) => text.parse().ok(),
        _ => None,
    }
}

/// An id: `milliseconds-number`.
pub fn id(value: Value) -> Option<Id> {
    parse_id(&text(value)?)
}

/// An id as text.
pub fn parse_id(text: &str) -> Option<Id> {
    let (ms, number) = text.split_once('-')?;
    Some((ms.parse().ok()?, number.parse().ok()?))
}

/// An id as Redis writes it.
pub fn write_id(id: Id) -> String {
    format!("{}-{}", id.0, id.1)
}

/// A message in the form of our scripts: its id, and then its fields, or its size and
/// some of its fields, or nothing. `None` if it has no id.
fn message(value: Value) -> Option<Message> {
    let mut parts = items(value).into_iter();
    let id = id(parts.next()?)?;
    let body = match parts.next() {
        Some(Value::Array(list)) => Body::Fields(fields(list)),
        Some(Value::Int(size)) => {
            let known = parts.next().map(items).unwrap_or_default();
            Body::Large(u64::try_from(size).unwrap_or(u64::MAX), fields(known))
        }
        _ => Body::Gone,
    };
    Some(Message { id, body })
}

fn fields(list: Vec<Value>) -> Fields {
    let mut fields = Fields::new();
    let mut list = list.into_iter();
    while let (Some(name), Some(value)) = (list.next(), list.next()) {
        if let (Some(name), Some(value)) = (bytes(name), bytes(value)) {
            fields.insert(name, value);
        }
    }
    fields
}

/// Messages in the form of our scripts.
pub fn messages(value: Value) -> Vec<Message> {
    items(value).into_iter().filter_map(message).collect()
}

/// An answer to [`super::script::READ`].
///
/// # Errors An answer with an unexpected shape, or from a Redis that does not count added
/// messages.
pub fn reading(value: Value) -> RedisResult<Reading> {
    let mut parts = items(value).into_iter();
    let mut next = || parts.next().unwrap_or(Value::Nil);
    let role = text(next()).unwrap_or_default();
    let reign = text(next()).unwrap_or_default();
    let added = number(&next()).ok_or_else(|| {
        misshapen("Redis does not count the messages added: 7.0 or later is needed")
    })?;
    let length = number(&next()).ok_or_else(|| misshapen("the stream has no length"))?;
    let last = id(next()).ok_or_else(|| misshapen("the stream has no last id"))?;
    let first = id(next());
    let covered = text(next()).map_or_else(Covered::default, |text| Covered::read(&text));
    let time_ms = number(&next()).unwrap_or(0);
    let more = next() == Value::Int(1);
    let messages = messages(next());
    let deleted = id(next()).unwrap_or_default();
    let heavy = next() == Value::Int(1);
    let name = text(next()).unwrap_or_default();
    Ok(Reading {
        master: role == "master",
        reign,
        name,
        added,
        length,
        first: first.filter(|_| length > 0),
        last,
        covered,
        time_ms,
        more,
        messages,
        deleted,
        heavy,
    })
}

/// An answer to [`super::script::GROUP_READ`]: the group, the stream's count, length and
/// first id, and messages.
pub fn group_reading(value: Value) -> (GroupView, u64, u64, Option<Id>, Vec<Message>) {
    let mut parts = items(value).into_iter();
    let mut next = || parts.next().unwrap_or(Value::Nil);
    let view = GroupView {
        delivered: id(next()).unwrap_or_default(),
        pending: number(&next()).unwrap_or(0),
        read: number(&next()),
        lag: number(&next()),
    };
    let added = number(&next()).unwrap_or(0);
    let length = number(&next()).unwrap_or(0);
    let first = id(next()).filter(|_| length > 0);
    (view, added, length, first, messages(next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(bytes: &[u8]) -> Value {
        Value::BulkString(bytes.to_vec())
    }

    #[test]
    fn a_message_of_any_bytes_is_read() {
        let fields = Value::Array(vec![bulk(b"\xff"), bulk(b"x"), bulk(b"sid"), bulk(b"s")]);
        let known = Value::Array(vec![bulk(b"sid"), bulk(b"s")]);
        let read = messages(Value::Array(vec![
            Value::Array(vec![bulk(b"1-2"), fields]),
            Value::Array(vec![bulk(b"3-0"), Value::Int(20_000_000), known.clone()]),
            Value::Array(vec![bulk(b"4-0"), Value::Nil]),
            Value::Array(vec![bulk(b"\xff"), Value::Nil]),
            Value::Nil,
        ]));
        let bodies: Vec<_> = read.iter().map(|message| &message.body).collect();
        let Body::Fields(fields) = bodies[0] else {
            panic!("no fields")
        };
        assert_eq!(fields[&b"\xff".to_vec()], b"x");
        let known = Fields::from([(b"sid".to_vec(), b"s".to_vec())]);
        assert_eq!(bodies[1..], [&Body::Large(20_000_000, known), &Body::Gone]);
    }

    #[test]
    fn a_redis_that_does_not_count_is_no_redis_for_us() {
        let answer = Value::Array(vec![bulk(b"master"), bulk(b"r"), Value::Nil]);
        let said = reading(answer).unwrap_err().to_string();
        assert!(said.contains("7.0"), "{said}");
    }
}
