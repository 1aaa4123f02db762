//! Strict JSON (RFC 8259, UTF-8): what serde_json reads, with three more rules. No member
//! name occurs twice in an object, at any depth. Nothing is nested deeper than
//! [`MAX_DEPTH`]. Integers are told apart from every other way to write a number. Tokens,
//! key sets and configurations are all read here.

mod read;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Deepest nesting accepted; the outermost object is 1 (contract, "Stricter").
pub const MAX_DEPTH: usize = 32;

/// Most digits of an integer, anywhere. The published connector reads no longer integer,
/// and what it refuses must never be admitted here.
pub const MAX_INTEGER_DIGITS: usize = 4300;

/// A JSON value. It borrows strings that have no escapes.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, classified.
    Number(Number),
    /// A string, unescaped.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object, its members in the order they were written.
    Object(Members<'a>),
}

/// The members of an object in the order they were written.
pub type Members<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

/// A JSON number, with the distinctions that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// An integer in 0..=2^63-1, without fraction or exponent.
    Integer(u64),
    /// An integer outside that range, or `-0`.
    OutOfRange,
    /// Anything with a fraction or an exponent.
    NotInteger,
}

impl Number {
    /// Classifies the text of a JSON number. A parsed float could not tell `1000` from
    /// `1e3`, or 2^64 from a fraction.
    fn from_text(text: &str) -> Result<Number, InvalidJson> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(Number::NotInteger);
        }
        if digits.len() > MAX_INTEGER_DIGITS {
            return Err(InvalidJson::IntegerTooLong);
        }
        Ok(match text.parse::<i64>() {
            Ok(n) if digits.len() == text.len() => {
                u64::try_from(n).map_or(Number::OutOfRange, Number::Integer)
            }
            _ => Number::OutOfRange,
        })
    }
}

/// Why bytes are not the JSON object that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidJson {
    /// Not UTF-8.
    NotUtf8,
    /// Not JSON by RFC 8259.
    Syntax,
    /// JSON, but not an object.
    NotAnObject,
    /// An object has the same member name twice.
    DuplicateName,
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// An integer of more than [`MAX_INTEGER_DIGITS`] digits.
    IntegerTooLong,
}

impl fmt::Display for InvalidJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidJson::NotUtf8 => "is not UTF-8",
            InvalidJson::Syntax => "is not valid JSON",
            InvalidJson::NotAnObject => "is not a JSON object",
            InvalidJson::DuplicateName => "has a member name twice",
            InvalidJson::TooDeep => "is nested deeper than 32",
            InvalidJson::IntegerTooLong => "has an integer of more than 4300 digits",
        })
    }
}

/// What to do if a member name occurs twice in an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duplicates {
    /// Refuse the whole text. Two parsers could otherwise read two different documents.
    Refuse,
    /// Keep both, so that the reader can report each with its path.
    Keep,
}

/// Parses one JSON object strictly.
///
/// # Errors
/// See [`InvalidJson`].
pub fn parse_object(bytes: &[u8]) -> Result<Members<'_>, InvalidJson> {
    parse_object_with(bytes, Duplicates::Refuse)
}

/// The items of one of an object's lists, each as text, so that one bad item does not
/// spoil the others. `None` if the object has no such list. The other members are not
/// read.
///
/// # Errors See [`InvalidJson`]. They are about the object itself, not about the list's
/// items.
pub(crate) fn list_member<'a>(
    bytes: &'a [u8],
    name: &str,
) -> Result<Option<Vec<&'a RawValue>>, InvalidJson> {
    let text = std::str::from_utf8(bytes).map_err(|_| InvalidJson::NotUtf8)?;
    let whole: &RawValue = from_text(text)?;
    if !whole.get().starts_with('{') {
        return Err(InvalidJson::NotAnObject);
    }
    let mut deserializer = serde_json::Deserializer::from_str(whole.get());
    let members = RawMembers
        .deserialize(&mut deserializer)
        .map_err(|_| InvalidJson::Syntax)?;
    let mut lists = members.iter().filter(|(known, _)| known == name);
    let list = lists.next().map(|(_, list)| list.get());
    if lists.next().is_some() {
        return Err(InvalidJson::DuplicateName);
    }
    Ok(list.and_then(|list| from_text(list).ok()))
}

pub(crate) fn parse_object_with(
    bytes: &[u8],
    duplicates: Duplicates,
) -> Result<Members<'_>, InvalidJson> {
    let text = std::str::from_utf8(bytes).map_err(|_| InvalidJson::NotUtf8)?;
    match read::value(text, duplicates)? {
        Value::Object(members) => Ok(members),
        _ => Err(InvalidJson::NotAnObject),
    }
}

fn from_text<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T, InvalidJson> {
    serde_json::from_str(text).map_err(|_| InvalidJson::Syntax)
}

/// An object's members, with their values still as text.
struct RawMembers;

impl<'de> DeserializeSeed<'de> for RawMembers {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RawMembers {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key_seed(Text)? {
            members.push((name, map.next_value()?));
        }
        Ok(members)
    }
}

/// A string, borrowed if possible.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(v.to_owned()))
    }
}

/// The value of a member, if the object has it.
pub fn member<'v, 'a>(members: &'v Members<'a>, name: &str) -> Option<&'v Value<'a>> {
    members.iter().find(|(n, _)| n == name).map(|(_, v)| v)
}
