//! The parts of a document, and why one is not accepted.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Visitor};

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
    pub(super) fn from_text(text: &str) -> Result<Number, InvalidJson> {
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

/// Reads a whole text with serde_json.
pub(super) fn from_text<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T, InvalidJson> {
    serde_json::from_str(text).map_err(|_| InvalidJson::Syntax)
}

/// A string, borrowed if possible.
pub(super) struct Text;

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
