//! Reads a text in one pass of serde_json, however deeply it is nested. Anybody may send
//! a token with a nested header, and to read it again at each level would cost thirty
//! times as much.
//!
//! serde_json gives numbers as floats, but how they were written matters here. So the
//! numbers are found in the text first, and then used in the order in which they occur.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use memchr::memchr2;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::value::{Duplicates, InvalidJson, MAX_DEPTH, Members, Number, Text, Value, from_text};

/// Reads the value of a text.
///
/// # Errors See [`InvalidJson`].
pub(super) fn value(text: &str, duplicates: Duplicates) -> Result<Value<'_>, InvalidJson> {
    let numbers = Numbers::of(text);
    let value = match numbers.unreadable.as_slice() {
        [] => one_pass(text, &numbers, duplicates)?,
        unreadable => {
            let masked = masked(text, unreadable)?;
            owned(one_pass(&masked, &numbers, duplicates)?)
        }
    };
    match numbers.has_too_long {
        true => Err(InvalidJson::IntegerTooLong),
        false => Ok(value),
    }
}

fn one_pass<'t>(
    text: &'t str,
    numbers: &Numbers,
    duplicates: Duplicates,
) -> Result<Value<'t>, InvalidJson> {
    let mut reading = Reading {
        numbers: numbers.all.iter(),
        duplicates,
        why: InvalidJson::Syntax,
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let outermost = Reader {
        reading: &mut reading,
        depth: 1,
    };
    let value = outermost.deserialize(&mut deserializer);
    value
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|_| reading.why)
}

/// The numbers of a text, in the order in which they occur.
struct Numbers {
    all: Vec<Number>,
    has_too_long: bool,
    /// Where the numbers are that may be too large for a float, or that take long to
    /// convert.
    unreadable: Vec<Range<usize>>,
}

/// Longest number that serde_json reads itself.
const READABLE: usize = 20;

impl Numbers {
    /// Finds the numbers of a JSON text. If the text is not JSON, the result does not
    /// matter: serde_json refuses it.
    fn of(text: &str) -> Self {
        let mut found = Numbers {
            all: Vec::new(),
            has_too_long: false,
            unreadable: Vec::new(),
        };
        let mut rest = text;
        loop {
            let begins = |b: &u8| matches!(b, b'"' | b'-' | b'0'..=b'9');
            let Some(start) = rest.as_bytes().iter().position(begins) else {
                return found;
            };
            let (_, spot) = rest.split_at_checked(start).unwrap_or_default();
            let len = match spot.as_bytes() {
                [b'"', string @ ..] => length_of_string(string).saturating_add(1),
                spot => length_of_number(spot),
            };
            let Some((token, behind)) = spot.split_at_checked(len) else {
                return found;
            };
            if !token.starts_with('"') {
                let at = text.len().saturating_sub(spot.len());
                found.add(token, at);
            }
            rest = behind;
        }
    }

    fn add(&mut self, token: &str, at: usize) {
        match Number::from_text(token) {
            Ok(number) => self.all.push(number),
            Err(_) => {
                self.has_too_long = true;
                self.all.push(Number::OutOfRange);
            }
        }
        if token.len() > READABLE || token.bytes().any(|b| matches!(b, b'e' | b'E')) {
            let end = at.saturating_add(token.len());
            self.unreadable.push(at..end);
        }
    }
}

/// The length of a string after its first quotation mark, including the last one.
fn length_of_string(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some(at) = memchr2(b'"', b'\\', rest) {
        let is_end = rest.get(at) == Some(&b'"');
        let taken = at.saturating_add(if is_end { 1 } else { 2 });
        rest = rest.get(taken..).unwrap_or_default();
        if is_end {
            break;
        }
    }
    bytes.len().saturating_sub(rest.len())
}

fn length_of_number(bytes: &[u8]) -> usize {
    let is_part = |b: &u8| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let end = bytes.iter().position(|b| !is_part(b));
    end.unwrap_or(bytes.len())
}

/// A text in which these numbers are replaced by 0.
fn masked(text: &str, numbers: &[Range<usize>]) -> Result<String, InvalidJson> {
    let mut masked = String::with_capacity(text.len());
    let mut end = 0;
    for at in numbers {
        let (before, number) = (text.get(end..at.start), text.get(at.clone()));
        // Check the syntax of the number here, because it is not visible later.
        let _: &RawValue = from_text(number.unwrap_or_default())?;
        masked.push_str(before.unwrap_or_default());
        masked.push('0');
        end = at.end;
    }
    masked.push_str(text.get(end..).unwrap_or_default());
    Ok(masked)
}

/// A value that borrows nothing. It is nested at most [`MAX_DEPTH`] deep.
fn owned(value: Value<'_>) -> Value<'static> {
    let text = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
    match value {
        Value::Null => Value::Null,
        Value::Bool(is) => Value::Bool(is),
        Value::Number(number) => Value::Number(number),
        Value::String(string) => Value::String(text(string)),
        Value::Array(items) => Value::Array(items.into_iter().map(owned).collect()),
        Value::Object(members) => {
            let members = members.into_iter();
            Value::Object(
                members
                    .map(|(name, one)| (text(name), owned(one)))
                    .collect(),
            )
        }
    }
}

struct Reading<'r> {
    numbers: std::slice::Iter<'r, Number>,
    duplicates: Duplicates,
    /// The reason if reading ends early.
    why: InvalidJson,
}

impl Reading<'_> {
    fn end<E: Error>(&mut self, why: InvalidJson) -> E {
        self.why = why;
        E::custom("")
    }
}

/// Reads a value at `depth`, if it is an array or object.
struct Reader<'r, 'n> {
    reading: &'r mut Reading<'n>,
    depth: usize,
}

impl Reader<'_, '_> {
    fn number<'v, E: Error>(self) -> Result<Value<'v>, E> {
        let number = self.reading.numbers.next().copied();
        number
            .map(Value::Number)
            .ok_or_else(|| self.reading.end(InvalidJson::Syntax))
    }

    /// The depth of the members or items.
    fn inside<E: Error>(&mut self) -> Result<usize, E> {
        match self.depth > MAX_DEPTH {
            true => Err(self.reading.end(InvalidJson::TooDeep)),
            false => Ok(self.depth.saturating_add(1)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_, '_> {
    type Value = Value<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_, '_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, is: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(is))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        self.number()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        self.number()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        self.number()
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::String(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Self::Value, A::Error> {
        let depth = self.inside()?;
        let mut items = Vec::new();
        loop {
            let item = Reader {
                reading: &mut *self.reading,
                depth,
            };
            match seq.next_element_seed(item)? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        let depth = self.inside()?;
        let mut members = Members::new();
        while let Some(name) = map.next_key_seed(Text)? {
            let value = Reader {
                reading: &mut *self.reading,
                depth,
            };
            members.push((name, map.next_value_seed(value)?));
        }
        if self.reading.duplicates == Duplicates::Refuse && has_duplicate(&members) {
            return Err(self.reading.end(InvalidJson::DuplicateName));
        }
        Ok(Value::Object(members))
    }
}

fn has_duplicate(members: &Members<'_>) -> bool {
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_ref()).collect();
    // Sorting costs n log n, also for a token with thousands of names.
    names.sort_unstable();
    names
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a == b))
}
