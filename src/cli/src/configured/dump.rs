//! What of a dump of Envoy's admin port (`/config_dump`) is in force.

use serde_json::Value;

/// States of a listener in which it takes no new connections.
const NOT_IN_FORCE: [&str; 2] = ["draining_state", "error_state"];

/// The tree without what stands in it twice, or is in force no more. Any other tree is
/// left as it is.
pub(super) fn in_force(mut tree: Value) -> Value {
    let Some(dumps) = tree.get_mut("configs").and_then(Value::as_array_mut) else {
        return tree;
    };
    let is = |dump: &Value, name: &str| {
        let kind = dump.get("@type").and_then(Value::as_str);
        kind.is_some_and(|kind| kind.rsplit('.').next() == Some(name))
    };
    // The bootstrap's listeners and clusters are in the dumps of their own too.
    if dumps.iter().any(|dump| is(dump, "ListenersConfigDump")) {
        dumps.retain(|dump| !is(dump, "BootstrapConfigDump"));
    }
    for dump in dumps {
        let listeners = dump.get_mut("dynamic_listeners");
        let listeners = listeners.and_then(Value::as_array_mut);
        for listener in listeners.into_iter().flatten() {
            if let Some(members) = listener.as_object_mut() {
                members.retain(|name, _| !NOT_IN_FORCE.contains(&name.as_str()));
            }
        }
    }
    tree
}
