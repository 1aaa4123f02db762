//! Strict JSON (RFC 8259, UTF-8): what serde_json reads, and in addition no
//! member name twice at any depth, no nesting deeper than [`MAX_DEPTH`], and
//! integers told apart from every other way to write a number. Tokens, key
//! sets and configurations all come through here.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Deepest nesting accepted; the outermost object is 1 (contract, "Stricter").
pub const MAX_DEPTH: usize = 32;

/// Most digits of an integer, wherever it stands: the oracle reads no longer
/// one, and what it refuses is never admitted here.
pub const MAX_INTEGER_DIGITS: usize = 4300;

/// A JSON value that borrows its strings where they hold no escapes.
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

/// A JSON number, as far as anything here needs to know it.
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
    /// Classifies the text of a JSON number; a parsed float could no longer
    /// tell `1000` from `1e3`, or 2^64 from a fraction.
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

/// What to do with a member name that stands twice in an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duplicates {
    /// Refuse the whole text: two parsers could read two different documents.
    Refuse,
    /// Keep both, for a reader that reports each with its path.
    Keep,
}

/// Parses one JSON object strictly.
///
/// # Errors
/// See [`InvalidJson`].
pub fn parse_object(bytes: &[u8]) -> Result<Members<'_>, InvalidJson> {
    parse_object_with(bytes, Duplicates::Refuse)
}

/// The items of one of an object's lists, each as its text, so that one which is odd
/// does not spoil the others. `None` when the object has no such list. What the
/// other members hold is not looked at.
///
/// # Errors
/// See [`InvalidJson`]; of the object itself, not of what is in it.
pub(crate) fn list_member<'a>(
    bytes: &'a [u8],
    name: &str,
) -> Result<Option<Vec<&'a RawValue>>, InvalidJson> {
    let text = std::str::from_utf8(bytes).map_err(|_| InvalidJson::NotUtf8)?;
    let whole: &RawValue = read(text)?;
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
    Ok(list.and_then(|list| read(list).ok()))
}

pub(crate) fn parse_object_with(
    bytes: &[u8],
    duplicates: Duplicates,
) -> Result<Members<'_>, InvalidJson> {
    let text = std::str::from_utf8(bytes).map_err(|_| InvalidJson::NotUtf8)?;
    let whole: &RawValue = read(text)?;
    if !whole.get().starts_with('{') {
        return Err(InvalidJson::NotAnObject);
    }
    object(whole.get(), 1, duplicates)
}

/// One value, of text that serde_json has found to be one. Each level is read
/// with the values in it still as text, so that every number is classified by
/// how it is written and no number is too large to read.
fn value(raw: &RawValue, depth: usize, duplicates: Duplicates) -> Result<Value<'_>, InvalidJson> {
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'{') => Value::Object(object(text, depth, duplicates)?),
        Some(b'[') => {
            let inner = deeper(depth)?;
            let items: Vec<&RawValue> = read(text)?;
            let items = items.into_iter().map(|item| value(item, inner, duplicates));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Some(b'"') => Value::String(string(text)?),
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'n') => Value::Null,
        _ => Value::Number(Number::from_text(text)?),
    })
}

fn object(text: &str, depth: usize, duplicates: Duplicates) -> Result<Members<'_>, InvalidJson> {
    let inner = deeper(depth)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let raw = RawMembers
        .deserialize(&mut deserializer)
        .map_err(|_| InvalidJson::Syntax)?;
    let mut members = Members::with_capacity(raw.len());
    for (name, raw) in raw {
        members.push((name, value(raw, inner, duplicates)?));
    }
    if duplicates == Duplicates::Refuse && has_duplicate(&members) {
        return Err(InvalidJson::DuplicateName);
    }
    Ok(members)
}

/// The depth of what is inside an array or object at `depth`.
fn deeper(depth: usize) -> Result<usize, InvalidJson> {
    if depth > MAX_DEPTH {
        Err(InvalidJson::TooDeep)
    } else {
        Ok(depth.saturating_add(1))
    }
}

fn read<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T, InvalidJson> {
    serde_json::from_str(text).map_err(|_| InvalidJson::Syntax)
}

fn string(text: &str) -> Result<Cow<'_, str>, InvalidJson> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Text.deserialize(&mut deserializer)
        .map_err(|_| InvalidJson::Syntax)
}

fn has_duplicate(members: &Members<'_>) -> bool {
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_ref()).collect();
    // Sorting keeps a token stuffed with thousands of names at n log n.
    names.sort_unstable();
    names
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a == b))
}

/// An object's members with their values still as text.
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

/// A string, borrowed where it can be.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        let json = format!("{{\"n\":{text}}}");
        match member(&parse_object(json.as_bytes()).unwrap(), "n") {
            Some(Value::Number(n)) => *n,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn tells_integers_from_other_numbers() {
        assert_eq!(number("0"), Number::Integer(0));
        assert_eq!(
            number("9223372036854775807"),
            Number::Integer(i64::MAX as u64)
        );
        for out in [
            "9223372036854775808",
            "18446744073709551616",
            "-1",
            "-0",
            "-99999999999999999999",
        ] {
            assert_eq!(number(out), Number::OutOfRange, "{out}");
        }
        for no in ["1.0", "1e3", "-0.0", "1E0", "0.5", "1e999", "-1e-400"] {
            assert_eq!(number(no), Number::NotInteger, "{no}");
        }
        assert_eq!(
            number(&format!("0.{}", "1".repeat(5000))),
            Number::NotInteger
        );
    }

    #[test]
    fn integers_have_at_most_4300_digits() {
        assert_eq!(number(&"9".repeat(4300)), Number::OutOfRange);
        assert_eq!(
            number(&format!("-{}", "9".repeat(4300))),
            Number::OutOfRange
        );
        for at in ["{\"a\":N}", "{\"a\":[{\"b\":N}]}", "{\"a\":-N}"] {
            let json = at.replace('N', &"9".repeat(4301));
            assert_eq!(
                parse_object(json.as_bytes()),
                Err(InvalidJson::IntegerTooLong),
                "{at}"
            );
        }
    }

    #[test]
    fn refuses_what_two_parsers_could_read_differently() {
        let cases: &[(&[u8], InvalidJson)] = &[
            (br#"{"a":1,"a":1}"#, InvalidJson::DuplicateName),
            (br#"{"a":1,"\u0061":1}"#, InvalidJson::DuplicateName),
            (br#"{"x":[{"a":1,"a":1}]}"#, InvalidJson::DuplicateName),
            (br#"{"x":{"a":{"b":1,"b":2}}}"#, InvalidJson::DuplicateName),
            (br#"[]"#, InvalidJson::NotAnObject),
            (br#""a""#, InvalidJson::NotAnObject),
            (br#" "#, InvalidJson::Syntax),
            (b"", InvalidJson::Syntax),
            (br#"{"a":NaN}"#, InvalidJson::Syntax),
            (br#"{"a":Infinity}"#, InvalidJson::Syntax),
            (br#"{"a":01}"#, InvalidJson::Syntax),
            (br#"{"a":"\ud800"}"#, InvalidJson::Syntax),
            (br#"{"a":["\udc00x"]}"#, InvalidJson::Syntax),
            (br#"{"\ud800":1}"#, InvalidJson::Syntax),
            (br#"{"a":1}x"#, InvalidJson::Syntax),
            (br#"{"a":1,}"#, InvalidJson::Syntax),
            (b"\xef\xbb\xbf{\"a\":1}", InvalidJson::Syntax),
            (b"{\"a\":\"\xff\"}", InvalidJson::NotUtf8),
            (b"{\"a\":\"\x01\"}", InvalidJson::Syntax),
            (b"\xff\xfe{\0}\0", InvalidJson::NotUtf8),
            (b"{\0\"\0}\0", InvalidJson::Syntax),
        ];
        for (bytes, why) in cases {
            let got = parse_object(bytes);
            assert_eq!(
                got.as_ref().err(),
                Some(why),
                "{}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn nesting_is_bounded_at_32() {
        let nested = |depth: usize| {
            let inner = depth - 1;
            format!("{{\"a\":{}{}}}", "[".repeat(inner), "]".repeat(inner))
        };
        assert!(parse_object(nested(32).as_bytes()).is_ok());
        assert_eq!(
            parse_object(nested(33).as_bytes()),
            Err(InvalidJson::TooDeep)
        );
        let hostile = format!("{{\"a\":{}", "[".repeat(100_000));
        assert!(parse_object(hostile.as_bytes()).is_err());
    }

    #[test]
    fn white_space_and_escapes_are_read() {
        let members =
            parse_object(b" {\n \"a\\n\" : \"\\u00e9\\ud83d\\ude00\" ,\t\"b\":[null,true]}\r\n")
                .unwrap();
        assert_eq!(member(&members, "a\n"), Some(&Value::String("é😀".into())));
        assert_eq!(
            member(&members, "b"),
            Some(&Value::Array(vec![Value::Null, Value::Bool(true)]))
        );
    }
}
