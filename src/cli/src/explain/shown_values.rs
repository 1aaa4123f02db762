//! How texts and JSON values are shown.

use caracal_mandate::config::Configuration;
use serde_json::Value;

use crate::terminal::{shown, shown_bytes};

/// Most entries of a list that are shown.
const MOST: usize = 8;

/// Texts between brackets.
pub(crate) fn list<'t>(texts: impl IntoIterator<Item = &'t String>) -> String {
    let mut all: Vec<String> = texts.into_iter().map(|text| shown(text)).collect();
    let more = all.len().saturating_sub(MOST);
    all.truncate(MOST);
    if more > 0 {
        all.push(format!("{more} more"));
    }
    format!("[{}]", all.join(", "))
}

/// A JSON value by its type, and a short one by its text.
pub(crate) fn json_in_words(value: Option<&Value>) -> String {
    match value {
        None => "absent".to_owned(),
        Some(Value::Null) => "null".to_owned(),
        Some(Value::Bool(value)) => format!("the boolean {value}"),
        Some(Value::Number(number)) => format!("the number {number}"),
        Some(Value::String(text)) => shown(text),
        Some(Value::Array(items)) => format!("an array of {}", items.len()),
        Some(Value::Object(members)) => format!("an object of {} members", members.len()),
    }
}

/// How long a mandate must still be valid in Gateway mode, in seconds.
pub(super) fn min_remaining_s(configuration: &Configuration) -> u64 {
    configuration
        .gateway
        .as_ref()
        .map_or(0, |gateway| gateway.min_remaining_s)
}

pub(super) fn nothing() -> String {
    "-".to_owned()
}

/// Bytes without quotes, if nothing in them can mislead.
pub(super) fn plain(bytes: &[u8]) -> String {
    let is_plain = |b: &u8| matches!(b, b' '..=b'~');
    match bytes.iter().all(is_plain) {
        true => bytes.iter().copied().map(char::from).collect(),
        false => shown_bytes(bytes),
    }
}
