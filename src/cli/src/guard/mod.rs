//! Ways in which a proxy's file leaves a route unguarded although a filter stands in it:
//! the filter is switched off, another route leads to the same place without it, or the
//! service gets another path than the one that is judged. What a file alone can show, and
//! no more: other files may guard what this one does not.

mod apisix;
mod apisix_own;
mod gate;
mod kong;
mod lua;
pub(crate) mod nginx;

use serde_json::Value;

/// Part of the name of the filter, its plugin and its file.
const NAME: &str = "caracal";

fn is_ours(name: &str) -> bool {
    name.to_ascii_lowercase().contains(NAME)
}

/// What leaves something unguarded in a file of nginx's.
pub(crate) fn of_nginx(tree: &[nginx::Directive]) -> Vec<String> {
    gate::unguarded(tree)
}

/// What leaves something unguarded in a file of Kong's or APISIX's.
pub(crate) fn of_tree(tree: &Value) -> Vec<String> {
    let mut all = kong::unguarded(tree);
    all.extend(apisix_own::unguarded(tree));
    all.extend(apisix::unguarded(tree));
    all.dedup();
    all
}

/// Whether it is APISIX's own configuration, which says where the filter's file is and
/// has no configuration of the filter in it.
pub(crate) fn is_apisix_itself(tree: &Value) -> bool {
    apisix_own::own(tree).is_some()
}

/// The items of an array under a name; none where there is no such array.
fn items<'t>(tree: &'t Value, name: &str) -> impl Iterator<Item = &'t Value> {
    tree.get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn text<'t>(tree: &'t Value, name: &str) -> Option<&'t str> {
    tree.get(name).and_then(Value::as_str)
}

/// What an object is called, for a message: by its name, its id or its path.
fn called(kind: &str, tree: &Value) -> String {
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
        Some(name) => format!("{kind} {}", crate::output::shown(&name)),
        None => format!("a {kind}"),
    }
}

fn is(tree: &Value, name: &str, value: bool) -> bool {
    tree.get(name).and_then(Value::as_bool) == Some(value)
}
