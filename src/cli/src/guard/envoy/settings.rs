//! A connection manager's settings about paths, names and time.

use serde_json::{Map, Value};

use super::timeouts::zero;
use crate::proxy_file::{is_enum, member};
use crate::warning::{ESCAPED_SLASHES, MERGE_SLASHES, NORMALIZE_PATH, UNDERSCORES, Warning};

/// Where names with an underscore are judged, and how long a connection may be idle.
const COMMON: &str = "common_http_protocol_options";

pub(super) fn look(body: &Map<String, Value>, place: &str, said: &mut Vec<Warning>) {
    for (name, kind) in [
        ("normalize_path", &NORMALIZE_PATH),
        ("merge_slashes", &MERGE_SLASHES),
    ] {
        if member(body, name) != Some(&Value::Bool(true)) {
            said.push(Warning::new(kind, place));
        }
    }
    let one_of = |value: Option<&Value>, good: &[(&str, u64)]| {
        good.iter()
            .any(|(name, number)| is_enum(value, name, *number))
    };
    let slashes = [
        ("REJECT_REQUEST", 2),
        ("UNESCAPE_AND_REDIRECT", 3),
        ("UNESCAPE_AND_FORWARD", 4),
    ];
    if !one_of(member(body, "path_with_escaped_slashes_action"), &slashes) {
        said.push(Warning::new(&ESCAPED_SLASHES, place));
    }
    let common = member(body, COMMON).and_then(Value::as_object);
    let underscores = common.and_then(|all| member(all, "headers_with_underscores_action"));
    if !one_of(underscores, &[("REJECT_REQUEST", 1), ("DROP_HEADER", 2)]) {
        said.push(Warning::new(&UNDERSCORES, place));
    }
    let own = [
        "stream_idle_timeout",
        "request_timeout",
        "request_headers_timeout",
    ];
    said.extend(zero(body, &own, place));
    if let Some(common) = common {
        said.extend(zero(common, &["idle_timeout"], place));
    }
}
