//! APISIX's own configuration: what holds when the filter is not there.

use serde_json::Value;

use super::apisix::{BEHIND, GATE, SHUT};
use super::apisix_copies::tells_credential;
use super::lua;
use super::tree::{is, is_ours, items, text};
use crate::warning::{UPSTREAM_UNVERIFIED, UPSTREAM_URI_LOGGED, Warning};

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

/// Whom nginx sends requests to, and what it writes of them.
pub(super) fn warnings(tree: &Value) -> Vec<Warning> {
    let mut all = Vec::new();
    if own(tree).is_none() {
        return all;
    }
    let nginx = tree.get("nginx_config").unwrap_or(&Value::Null);
    let snippets = nginx.as_object().into_iter().flatten();
    let snippets = snippets.filter(|(name, _)| name.ends_with("snippet"));
    let statements: Vec<String> = snippets
        .flat_map(|(_, text)| Snippet::read(text.as_str().unwrap_or_default()).statements)
        .collect();
    let has = |statement: &str| statements.iter().any(|one| one == statement);
    if !has("proxy_ssl_verify on") || has("proxy_ssl_verify off") {
        all.push(Warning::new(&UPSTREAM_UNVERIFIED, "nginx_config"));
    }
    let http = nginx.get("http").unwrap_or(&Value::Null);
    let tells = text(http, "access_log_format").is_none_or(tells_credential);
    if tells && !is(http, "enable_access_log", false) {
        let place = "nginx_config.http.access_log_format";
        all.push(Warning::new(&UPSTREAM_URI_LOGGED, place));
    }
    all
}

fn look_at(tree: &Value, plugin: &Value, said: &mut Vec<String>) {
    let name = text(plugin, "name").unwrap_or_default();
    let nginx = tree.get("nginx_config").unwrap_or(&Value::Null);
    let snippet = text(nginx, SERVER_SNIPPET).unwrap_or_default();
    let snippet = Snippet::read(snippet);
    if !snippet.guards(name) {
        said.push(format!(
            "nginx_config.{SERVER_SNIPPET} does not answer 503 while {name} is not loaded: with etcd its routes are served without it"
        ));
    }
    let is_shut = snippet.statements.iter().any(|one| is_shutting(one));
    if !is_shut {
        said.push(format!(
            "nginx_config.{SERVER_SNIPPET} declares no gate: `set ${GATE} \"{SHUT}\";`"
        ));
    }
    // A location's `set` runs after the server's, and a `map` gives a variable its value
    // whenever it is read: what every other snippet has counts too.
    for (name, snippet) in nginx.as_object().into_iter().flatten() {
        if name.ends_with("snippet") {
            let snippet = Snippet::read(snippet.as_str().unwrap_or_default());
            said.extend(
                snippet
                    .opens()
                    .into_iter()
                    .map(|why| format!("nginx_config.{name}: {why}")),
            );
        }
    }
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

const SERVER_SNIPPET: &str = "http_server_configuration_snippet";

/// nginx's configuration with Lua in it.
#[derive(Default)]
struct Snippet {
    /// What stands between `;`, `{` and `}`, with one space between its words.
    statements: Vec<String>,
    /// Blocks of Lua, each with what stands before it.
    lua: Vec<(String, String)>,
}

impl Snippet {
    fn read(text: &str) -> Self {
        let mut snippet = Snippet::default();
        let mut statement = String::new();
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            let begins = statement
                .chars()
                .next_back()
                .is_none_or(char::is_whitespace);
            let len = match next {
                '#' if begins => rest.find('\n').unwrap_or(rest.len()),
                '"' | '\'' if begins => quoted(rest, next),
                '$' if rest.starts_with("${") => {
                    rest.find('}').map_or(rest.len(), |at| at.saturating_add(1))
                }
                _ => next.len_utf8(),
            };
            let (taken, behind) = rest.split_at_checked(len).unwrap_or((rest, ""));
            rest = behind;
            match next {
                '#' if begins => statement.push(' '),
                ';' | '}' => snippet.end(&mut statement),
                '{' => {
                    if statement.contains("_by_lua") {
                        let (body, behind) = lua::block(rest);
                        snippet.lua.push((words(&statement), body.to_owned()));
                        rest = behind;
                    }
                    snippet.end(&mut statement);
                }
                _ => statement.push_str(taken),
            }
        }
        snippet.end(&mut statement);
        snippet
    }

    fn end(&mut self, statement: &mut String) {
        let ended = words(&std::mem::take(statement));
        self.statements
            .extend(Some(ended).filter(|ended| !ended.is_empty()));
    }

    /// Whether it answers 503 while a plugin is not loaded.
    fn guards(&self, plugin: &str) -> bool {
        let name = format!("\"{plugin}\"");
        self.lua.iter().any(|(directive, body)| {
            let tokens = lua::tokens(body);
            let has = |token: &str| tokens.iter().any(|one| one == token);
            directive == "rewrite_by_lua_block"
                && has("\"apisix.plugin\"")
                && has(&name)
                && has("503")
        })
    }

    /// What may open the gate besides the filter.
    fn opens(&self) -> Vec<String> {
        let mut said = Vec::new();
        for statement in &self.statements {
            if names_gate(statement) && !is_shutting(statement) {
                said.push(opens(statement));
            }
            let directive = statement.split(' ').next().unwrap_or_default();
            let is_block = directive.ends_with("_by_lua_block");
            if directive.contains("_by_lua") && !is_block {
                said.push(format!(
                    "`{directive}`: what Lua in a string or a file does with the gate ${GATE} cannot be seen: write it as {}_block",
                    directive.trim_end_matches("_file")
                ));
            }
        }
        for (directive, body) in &self.lua {
            if lua::may_set(body, GATE) {
                said.push(format!(
                    "Lua in {directive} sets the gate ${GATE} itself, or may: compare it and use plain names of ngx.var"
                ));
            }
        }
        said
    }
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The length of a quoted word, with its quotes.
fn quoted(text: &str, mark: char) -> usize {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == mark {
            return at.saturating_add(1);
        }
    }
    text.len()
}

/// nginx's names have no case.
fn names_gate(statement: &str) -> bool {
    let statement = statement.to_ascii_lowercase();
    let is_end = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let captures = ["<", "P<", "'"].map(|open| format!("(?{open}{GATE}").to_ascii_lowercase());
    captures.iter().any(|capture| statement.contains(capture))
        || [format!("${GATE}"), format!("${{{GATE}")]
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
    ["\"", "'", ""].iter().any(|mark| {
        let Some((name, value)) = statement
            .strip_prefix("set ")
            .and_then(|rest| rest.split_once(' '))
        else {
            return false;
        };
        name.eq_ignore_ascii_case(&format!("${GATE}")) && value == format!("{mark}{SHUT}{mark}")
    })
}

fn opens(statement: &str) -> String {
    format!(
        "`{}`: the gate ${GATE} may be open from the start: set it to \"{SHUT}\" and to nothing else",
        crate::terminal::shown(statement)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = include_str!("../../../../deploy/apisix/config.yaml");

    fn said(yaml: &str) -> Vec<String> {
        unguarded(&crate::proxy_file::yaml::tree_of(yaml))
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
                    "set $caracal_gate \"deny\"; # it's shut\n    access_by_lua_block { ngx.var.caracal_gate = 'open' }",
                ),
                "sets the gate",
            ),
            (
                changed(
                    "set $caracal_gate \"deny\";",
                    "set $caracal_gate \"deny\";\n    access_by_lua 'ngx.var.caracal_gate = 1';",
                ),
                "cannot be seen",
            ),
            (
                changed(
                    "    rewrite_by_lua_block {\n",
                    "    rewrite_by_lua_block {\n        ngx.header.x = \"a--b\" ngx.var.CARACAL_GATE = \"open\"\n",
                ),
                "sets the gate",
            ),
            (
                changed(
                    "set $caracal_gate \"deny\";",
                    "set $caracal_gate \"deny\";\n    set $CARACAL_GATE \"open\";",
                ),
                "open from the start",
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
