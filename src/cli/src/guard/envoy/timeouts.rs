//! Timeouts that are switched off.

use serde_json::{Map, Value};

use crate::proxy_file::member;
use crate::warning::{TIMEOUT_ZERO, Warning};

/// Those of some timeouts that are there and 0.
pub(super) fn zero(object: &Map<String, Value>, names: &[&str], place: &str) -> Vec<Warning> {
    let is_zero = |text: &str| {
        let digits = text.trim_end_matches('s').trim_start_matches('-');
        !digits.is_empty() && digits.chars().all(|c| c == '0' || c == '.')
    };
    let wrong = names.iter().filter(|name| {
        let value = member(object, name).and_then(Value::as_str);
        value.is_some_and(is_zero)
    });
    wrong
        .map(|name| Warning::found(&TIMEOUT_ZERO, place, &format!("{name} is 0")))
        .collect()
}
