//! A digest that tells one configuration from another, without revealing its secrets.

use crate::json::{self, Duplicates, Members, Number, Value};
use crate::token::fingerprint::Fingerprint;

/// The members that hold a secret, in the parts of a configuration.
const SECRETS: [&str; 2] = ["token", "secret"];
/// The part whose names are those of headers: `token` may be one.
const NAMES: &str = "forward";
/// Hex digits of the digest that are shown.
const SHOWN: usize = 12;

/// The digest of a document that was read without an error: the first 12 hex digits of the
/// SHA-256 of what it says. White space, the order of members and escapes in texts do not
/// count. The text of every `token` and `secret` is left out: otherwise somebody who knows the rest could
/// confirm a guess at it. What comes from the environment is not in it.
#[must_use]
pub fn digest(document: &[u8]) -> String {
    let mut said = Vec::new();
    if let Ok(members) = json::parse_object_with(document, Duplicates::Keep) {
        add_members(&mut said, &members, Level::Document);
    }
    let hex = Fingerprint::of(&said).to_hex();
    let shown = hex.iter().take(SHOWN);
    shown.map(|digit| char::from(*digit)).collect()
}

/// Adds a value. Each kind has its letter, and lengths come before what they measure, so
/// different values never add the same bytes.
fn add(said: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Null => said.push(b'n'),
        Value::Bool(true) => said.push(b't'),
        Value::Bool(false) => said.push(b'f'),
        Value::Number(Number::Integer(number)) => {
            said.push(b'i');
            said.extend_from_slice(&number.to_le_bytes());
        }
        // No key takes one.
        Value::Number(Number::OutOfRange | Number::NotInteger) => said.push(b'x'),
        Value::String(text) => add_text(said, text),
        Value::Array(items) => {
            add_length(said, b'a', items.len());
            for item in items {
                add(said, item);
            }
        }
        Value::Object(members) => add_members(said, members, Level::Below),
    }
}

/// Where an object stands: a secret is only in a part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Document,
    Part,
    Below,
}

fn add_members(said: &mut Vec<u8>, members: &Members<'_>, level: Level) {
    // Inserted one by one, because sorting would add 2 KiB to the filter.
    let mut sorted: Vec<&(_, Value<'_>)> = Vec::new();
    for member in members {
        let place = sorted.partition_point(|(name, _)| *name < member.0);
        sorted.insert(place, member);
    }
    add_length(said, b'o', sorted.len());
    for (name, value) in sorted {
        add_text(said, name);
        match value {
            Value::String(_) if level == Level::Part && SECRETS.contains(&&**name) => {
                said.push(b'h');
            }
            Value::Object(part) if level == Level::Document && name != NAMES => {
                add_members(said, part, Level::Part);
            }
            other => add(said, other),
        }
    }
}

fn add_text(said: &mut Vec<u8>, text: &str) {
    add_length(said, b's', text.len());
    said.extend_from_slice(text.as_bytes());
}

fn add_length(said: &mut Vec<u8>, kind: u8, length: usize) {
    said.push(kind);
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    said.extend_from_slice(&length.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        digest(text.as_bytes())
    }

    #[test]
    fn it_is_12_hex_digits_of_a_known_sum() {
        // The SHA-256 of `o` and eight bytes of 0, by `sha256sum`.
        assert_eq!(of("{}"), "cf12b9aa3844");
        assert_eq!(of(" { } "), of("{}"));
    }

    #[test]
    fn a_secret_is_not_in_it_and_all_else_is() {
        for name in ["revocation", "audit", "gateway", "shared_data"] {
            for token in [
                r#""token":"#,
                "\"token\" :\n ",
                r#""t\u006fken":"#,
                r#""secret":"#,
            ] {
                let with = |secret: &str, zone: &str| {
                    of(&format!(
                        r#"{{"{name}":{{{token}"{secret}"}},"zone_id":"{zone}"}}"#
                    ))
                };
                assert_eq!(with("secret-1", "z"), with("guess", "z"), "{name} {token}");
                assert_eq!(with(r#"a\"b\\"#, "z"), with("", "z"), "{name} {token}");
                assert_ne!(
                    with("secret-1", "z"),
                    with("secret-1", "y"),
                    "{name} {token}"
                );
            }
        }
        // There it is the name of a header.
        let header = |claim: &str| {
            of(&format!(
                r#"{{"forward":{{"headers":{{"token":"{claim}"}}}}}}"#
            ))
        };
        assert_ne!(header("sub"), header("sid"));
        // Whether there is one counts, and a zone or resource of that name hides nothing.
        assert_ne!(of(r#"{"a":{"token":"x"}}"#), of(r#"{"a":{}}"#));
        assert_ne!(of(r#"{"token":{"b":"x"}}"#), of(r#"{"token":{"b":"y"}}"#));
        assert_ne!(
            of(r#"{"a":"token","b":"x"}"#),
            of(r#"{"a":"token","b":"y"}"#)
        );
        assert_ne!(of(r#"{"token":["x"]}"#), of(r#"{"token":["y"]}"#));
    }

    #[test]
    fn how_it_is_written_does_not_count() {
        let one = r#"{"a": 1, "b": {"c": [true, null], "d": "\u0041\/"}}"#;
        let other = "{\"b\":{\"d\":\"A/\",\"c\":[true,null]},\n\"a\":1}";
        assert_eq!(of(one), of(other));
    }

    #[test]
    fn what_it_says_counts() {
        let all = [
            r#"{"a":1}"#,
            r#"{"a":2}"#,
            r#"{"a":"1"}"#,
            r#"{"a":[1]}"#,
            r#"{"a":[]}"#,
            r#"{"a":{}}"#,
            r#"{"a":null}"#,
            r#"{"a":true}"#,
            r#"{"a":false}"#,
            r#"{"b":1}"#,
            r#"{"a":["x","y"]}"#,
            r#"{"a":["y","x"]}"#,
            r#"{"a":["xy"]}"#,
            r#"{"a":"s"}"#,
            r#"{"a":{"b":1},"c":1}"#,
            r#"{"a":{"b":1,"c":1}}"#,
            "{}",
        ];
        let mut found: Vec<String> = all.iter().map(|text| of(text)).collect();
        found.sort();
        found.dedup();
        assert_eq!(found.len(), all.len());
    }

    #[test]
    fn any_bytes_have_one() {
        for bytes in ["", "\"", "\"\\", "[]", "\"token\":\""] {
            assert_eq!(of(bytes).len(), 12);
        }
    }
}
