//! Strict JSON (RFC 8259, UTF-8): what serde_json reads, with three more rules. No member
//! name occurs twice in an object, at any depth. Nothing is nested deeper than
//! [`MAX_DEPTH`]. Integers are told apart from every other way to write a number. Tokens,
//! key sets and configurations are all read here.

mod read;
#[cfg(test)]
mod tests;
mod value;

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;

pub(crate) use value::Duplicates;
pub use value::{InvalidJson, MAX_DEPTH, MAX_INTEGER_DIGITS, Members, Number, Value};
use value::{Text, from_text};

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

/// The value of a member, if the object has it.
pub fn member<'v, 'a>(members: &'v Members<'a>, name: &str) -> Option<&'v Value<'a>> {
    members.iter().find(|(n, _)| n == name).map(|(_, v)| v)
}
