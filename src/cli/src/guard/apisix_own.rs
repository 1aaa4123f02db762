//! APISIX's own configuration: what holds when the filter is not there.

use serde_json::Value;

use super::apisix::{BEHIND, GATE, SHUT};
use super::{is, is_ours, items, lua, text};

/// The entry of the filter in APISIX's own config.yaml.
pub(super) fn own(tree: &Value) -> Option<&Value> {
    let wasm = tree.get("wasm")?;
    items(wasm, "plugins").find(|plugin| text(plugin, "name").is_some_and(is_ours))
}

pub(super) fn unguarded(tree: &Value) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(own) = own(tree) {
        look_at(tree, own, &mut said);
    }
    said
}

fn look_at(tree: &Value, plugin: &Value, said: &mut Vec<String>) {
    let name = text(plugin, "name").unwrap_or_default();
    let nginx = tree.get("nginx_config").unwrap_or(&Value::Null);
    let snippet = text(nginx, "http_server_configuration_snippet").unwrap_or_default();
    let lines = snippet
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        // A comment of Lua.
        .map(|line| line.split("--").next().unwrap_or(line));
    let lines: Vec<&str> = lines.collect();
    let asks = |line: &&str| line.contains("apisix.plugin") && line.contains(name);
    let is_guard = lines
        .iter()
        .any(|line| line.contains("rewrite_by_lua_block"))
        && lines.iter().any(asks)
        && lines.iter().any(|line| line.contains("503"));
    if !is_guard {
        said.push(format!(
            "nginx_config.http_server_configuration_snippet does not answer 503 while {name} is not loaded: with etcd its routes are served without it"
        ));
    }
    gate_of_server(&lines, said);
    gate_elsewhere(nginx, said);
    let http = nginx.get("http").unwrap_or(&Value::Null);
    if text(http, "underscores_in_headers") != Some("off") {
        said.push(
            "nginx_config.http.underscores_in_headers is not off: a service may read x_caracal_sub as x-caracal-sub".to_owned(),
        );
    }
    let apisix = tree.get("apisix").unwrap_or(&Value::Null);
    for key in ["normalize_uri_like_servlet", "delete_uri_tail_slash"] {
        if is(apisix, key, true) {
            said.push(format!(
                "apisix.{key}: routes go by another path than the one that is judged"
            ));
        }
    }
    let phase = text(plugin, "http_request_phase");
    if phase.is_some_and(|phase| phase != "access") {
        said.push(format!(
            "wasm.plugins: {name} does not run in the access phase: what looks at the gate would come after other plugins"
        ));
    }
    let listed = tree.get("plugins").and_then(Value::as_array);
    if listed.is_some_and(|all| !all.iter().any(|one| one.as_str() == Some(BEHIND))) {
        said.push(format!(
            "plugins: {BEHIND} is not listed: nothing looks at the gate"
        ));
    }
}

/// The declaration of the gate in the snippet of the server.
fn gate_of_server(lines: &[&str], said: &mut Vec<String>) {
    // A snippet has Lua in it, which is not nginx's language: its statements are looked at.
    let statements = statements(lines);
    let mut is_shut = false;
    for statement in statements.iter().filter(|one| names_gate(one)) {
        match is_shutting(statement) {
            true => is_shut = true,
            false => said.push(opens(statement)),
        }
    }
    if !is_shut {
        said.push(format!(
            "nginx_config.http_server_configuration_snippet declares no gate: `set ${GATE} \"{SHUT}\";`"
        ));
    }
    if lua::may_set(&lines.join("\n"), GATE) {
        said.push(format!("Lua in the snippet sets the gate ${GATE} itself, or may: compare it and use plain names of ngx.var"));
    }
}

/// The other snippets: a location's `set` runs after the server's, and a `map` gives a
/// variable its value whenever it is read.
fn gate_elsewhere(nginx: &Value, said: &mut Vec<String>) {
    let others = nginx.as_object().into_iter().flatten();
    for (name, snippet) in others {
        if !name.ends_with("snippet") || name == "http_server_configuration_snippet" {
            continue;
        }
        let lines: Vec<&str> = snippet.as_str().unwrap_or_default().lines().collect();
        for statement in statements(&lines) {
            if names_gate(&statement) && !is_shutting(&statement) {
                said.push(format!("nginx_config.{name}: {}", opens(&statement)));
            }
        }
        if lua::may_set(&lines.join("\n"), GATE) {
            said.push(format!(
                "nginx_config.{name}: Lua sets the gate ${GATE} itself, or may: compare it and use plain names of ngx.var"
            ));
        }
    }
}

/// What stands between `;`, `{` and `}`, with one space between its words.
fn statements(lines: &[&str]) -> Vec<String> {
    let lines = lines.iter().map(|line| line.trim());
    let lines = lines.filter(|line| !line.starts_with('#'));
    let text = lines.collect::<Vec<_>>().join(" ");
    let words = |one: &str| one.split_whitespace().collect::<Vec<_>>().join(" ");
    text.split([';', '{', '}']).map(words).collect()
}

fn names_gate(statement: &str) -> bool {
    let is_end = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    [format!("${GATE}"), format!("${{{GATE}")]
        .iter()
        .any(|named| {
            statement.match_indices(named).any(|(at, found)| {
                statement
                    .get(at.saturating_add(found.len())..)
                    .is_some_and(is_end)
            })
        })
}

fn is_shutting(statement: &str) -> bool {
    ["\"", "'", ""]
        .iter()
        .any(|mark| statement == format!("set ${GATE} {mark}{SHUT}{mark}"))
}

fn opens(statement: &str) -> String {
    format!(
        "`{}`: the gate ${GATE} may be open from the start: set it to \"{SHUT}\" and to nothing else",
        crate::output::shown(statement)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = include_str!("../../../../deploy/apisix/config.yaml");

    fn said(yaml: &str) -> Vec<String> {
        unguarded(&crate::configured::tree_of(yaml))
    }

    #[test]
    fn the_file_as_it_is_shipped_leaves_nothing_open() {
        assert_eq!(said(OWN), [""; 0]);
    }

    #[test]
    fn what_its_own_configuration_leaves_open_is_found() {
        let changed = |from: &str, to: &str| {
            assert!(OWN.contains(from), "{from}");
            OWN.replace(from, to)
        };
        for (file, expected) in [
            (
                changed("rewrite_by_lua_block", "access_by_lua_block"),
                "is not loaded",
            ),
            (changed("ngx.exit(503)", "ngx.exit(200)"), "is not loaded"),
            (
                changed("set $caracal_gate \"deny\";", "# none"),
                "declares no gate",
            ),
            (
                changed("$caracal_gate \"deny\"", "$caracal_gate \"open\""),
                "open from the start",
            ),
            (
                changed("set $caracal_gate \"deny\";", "set $caracal_door \"deny\";"),
                "declares no gate",
            ),
            (
                changed(
                    "set $caracal_gate \"deny\";",
                    "set $caracal_gate \"deny\";\n    set $caracal_gate \"open\";",
                ),
                "open from the start",
            ),
            (
                changed(
                    "    rewrite_by_lua_block {\n",
                    "    rewrite_by_lua_block {\n        ngx.var[\"caracal_gate\"] = \"open\"\n",
                ),
                "sets the gate",
            ),
            (
                changed(
                    "set $caracal_gate \"deny\";",
                    "set $caracal_gate \"deny\"; set  $caracal_gate\n      \"open\";",
                ),
                "open from the start",
            ),
            (
                changed(
                    "set $caracal_gate \"deny\";",
                    "set $caracal_gate \"deny\";\n    set_by_lua_block $caracal_gate { return \"open\" }",
                ),
                "open from the start",
            ),
            (
                changed(
                    "  http_server_configuration_snippet:",
                    "  http_server_location_configuration_snippet: 'set $caracal_gate \"open\";'\n  http_server_configuration_snippet:",
                ),
                "open from the start",
            ),
            (
                changed(
                    "  http_server_configuration_snippet:",
                    "  http_configuration_snippet: 'map $uri $caracal_gate { default open; }'\n  http_server_configuration_snippet:",
                ),
                "open from the start",
            ),
            (
                changed("underscores_in_headers: \"off\"", "x: 1"),
                "underscores_in_headers",
            ),
            (
                changed(
                    "normalize_uri_like_servlet: false",
                    "normalize_uri_like_servlet: true",
                ),
                "another path",
            ),
            (
                changed(
                    "delete_uri_tail_slash: false",
                    "delete_uri_tail_slash: true",
                ),
                "another path",
            ),
            (
                changed("http_request_phase: access", "http_request_phase: rewrite"),
                "access phase",
            ),
            (format!("{OWN}\nplugins: [limit-count]\n"), "is not listed"),
        ] {
            let said = said(&file);
            assert!(
                said.iter().any(|one| one.contains(expected)),
                "{expected}: {said:?}"
            );
        }
    }
}
