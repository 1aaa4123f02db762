//! Visits every object of a tree, with the objects around it.

use serde_json::{Map, Value};

use crate::terminal::shown;

/// An object, and how it hangs in the one around it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Level<'t> {
    /// The member that it is, or that the array is which it stands in.
    pub(crate) key: &'t str,
    /// Its place in that array, from 1.
    pub(crate) number: Option<usize>,
    pub(crate) object: &'t Map<String, Value>,
}

/// An object that is visited.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Here<'a, 't> {
    pub(crate) level: Level<'t>,
    /// What is around it, outermost first.
    pub(crate) around: &'a [Level<'t>],
}

/// Calls `look` for every object, outermost first; where it returns false, nothing within
/// that object is visited.
pub(crate) fn walk<'t>(tree: &'t Value, look: &mut dyn FnMut(Here<'_, 't>) -> bool) {
    descend(tree, "", None, &mut Vec::new(), look);
}

/// As deep as the tree is, which its reader bounds.
fn descend<'t>(
    tree: &'t Value,
    key: &'t str,
    number: Option<usize>,
    around: &mut Vec<Level<'t>>,
    look: &mut dyn FnMut(Here<'_, 't>) -> bool,
) {
    match tree {
        Value::Array(items) => {
            for (item, number) in items.iter().zip(1..) {
                descend(item, key, Some(number), around, look);
            }
        }
        Value::Object(object) => {
            let level = Level {
                key,
                number,
                object,
            };
            if !look(Here { level, around }) {
                return;
            }
            around.push(level);
            for (key, value) in object {
                descend(value, key, None, around, look);
            }
            around.pop();
        }
        _ => {}
    }
}

impl<'t> Level<'t> {
    /// Its name; none where it has none.
    pub(crate) fn name(&self) -> Option<&'t str> {
        self.object.get("name").and_then(Value::as_str)
    }

    /// What an operator calls it; none where it only holds others.
    fn words(&self) -> Option<String> {
        let kind = match self.key {
            "listeners" | "listener" => "listener",
            "filter_chains" | "filterChains" => "filter chain",
            "http_filters" | "httpFilters" => "filter",
            "virtual_hosts" | "virtualHosts" => "virtual host",
            "routes" => "route",
            _ => return self.manifest(),
        };
        Some(match (self.name(), self.number) {
            (Some(name), _) => format!("{kind} {}", shown(name)),
            (None, Some(number)) => format!("{kind} {number}"),
            (None, None) => kind.to_owned(),
        })
    }

    /// A Kubernetes object, by its kind and name.
    fn manifest(&self) -> Option<String> {
        self.object.get("apiVersion")?;
        let kind = self.object.get("kind").and_then(Value::as_str)?;
        let metadata = self.object.get("metadata")?;
        let text = |name: &str| metadata.get(name).and_then(Value::as_str);
        let name = match (text("namespace"), text("name")?) {
            (Some(space), name) => format!("{space}/{name}"),
            (None, name) => name.to_owned(),
        };
        Some(format!("{kind} {}", shown(&name)))
    }
}

impl<'t> Here<'_, 't> {
    pub(crate) fn object(&self) -> &'t Map<String, Value> {
        self.level.object
    }

    /// Where it is, in an operator's words, from the outside in.
    pub(crate) fn place(&self) -> String {
        let levels = self.around.iter().chain([&self.level]);
        let words: Vec<String> = levels.filter_map(Level::words).collect();
        words.join(", ")
    }
}
