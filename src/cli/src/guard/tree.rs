//! A file as a tree of values, and whose parts are the filter's.

use serde_json::Value;

pub(super) use crate::proxy_file::is_ours;

/// The items of an array under a name; none where there is no such array.
pub(super) fn items<'t>(tree: &'t Value, name: &str) -> impl Iterator<Item = &'t Value> {
    tree.get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

pub(super) fn text<'t>(tree: &'t Value, name: &str) -> Option<&'t str> {
    tree.get(name).and_then(Value::as_str)
}

/// What an object is called, for a message: by its name, its id or its path.
pub(super) fn called(kind: &str, tree: &Value) -> String {
    let of = |name: &str| match tree.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let first = |name: &str| items(tree, name).find_map(Value::as_str).map(str::to_owned);
    let name = of("name")
        .or_else(|| of("id"))
        .or_else(|| of("uri"))
        .or_else(|| first("uris"))
        .or_else(|| first("paths"));
    match name {
        Some(name) => format!("{kind} {}", crate::terminal::shown(&name)),
        None => format!("a {kind}"),
    }
}

pub(super) fn is(tree: &Value, name: &str, value: bool) -> bool {
    tree.get(name).and_then(Value::as_bool) == Some(value)
}
