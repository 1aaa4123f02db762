//! The pages of docs/reference say what the code says. `UPDATE_DOCS=1` writes the generated
//! ones again.

use std::fmt::Write as _;
use std::process::Command;

use caracal_mandate::reply::{ErrorCode, Reason};
use caracal_tests::root;
use serde_json::{Map, Value};

/// Compares a page with what the code says, or writes it.
fn is_generated(name: &str, page: &str) {
    let file = root().join("docs/reference").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, page).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    for (found, expected) in found.lines().zip(page.lines()) {
        assert_eq!(found, expected, "{name} is stale: UPDATE_DOCS=1 writes it");
    }
    assert!(found == page, "{name} is stale: UPDATE_DOCS=1 writes it");
}

fn schema() -> Value {
    let schema = std::fs::read(root().join("src/mandate/config.schema.json")).unwrap();
    serde_json::from_slice(&schema).unwrap()
}

/// What a property refers to: the definition itself, or the one of several that has members.
fn members<'s>(schema: &'s Value, property: &Value) -> Option<&'s Map<String, Value>> {
    let definition = |reference: &Value| {
        let pointer = reference["$ref"].as_str()?.strip_prefix('#')?;
        schema.pointer(pointer)
    };
    let several = |of: &'s Value| of["anyOf"].as_array().into_iter().flatten();
    let first = property["anyOf"].as_array().and_then(|all| all.first());
    let target = definition(first.unwrap_or(property))?;
    let mut all = std::iter::once(target).chain(several(target).filter_map(definition));
    all.find_map(|one| one["properties"].as_object())
}

/// Keys and properties, each below the one that it is a member of.
fn keys(schema: &Value, prefix: &str, of: &Map<String, Value>, all: &mut Vec<(String, Value)>) {
    for (name, property) in of {
        // The requirements mean the same wherever they stand.
        let is_requirement = name.starts_with("require") || name == "max_hop_count";
        if is_requirement && !prefix.is_empty() {
            continue;
        }
        let name = format!("{prefix}{name}");
        all.push((name.clone(), property.clone()));
        if let Some(below) = members(schema, property) {
            keys(schema, &format!("{name}."), below, all);
        }
        // A resource has routes as there are outside.
        if let Some(below) = members(schema, &property["additionalProperties"])
            && !name.contains(".*.routes")
        {
            keys(schema, &format!("{name}.*."), below, all);
        }
    }
}

fn range(property: &Value) -> String {
    let number = |name: &str| property[name].as_u64();
    let limits = [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
        ("minProperties", "maxProperties", " members"),
    ];
    limits
        .iter()
        .filter_map(|(least, most, of)| match (number(least), number(most)) {
            (Some(least), Some(most)) => Some(format!("{least} to {most}{of}")),
            (None, Some(most)) => Some(format!("at most {most}{of}")),
            (Some(1), None) => Some(format!("at least 1{}", of.trim_end_matches('s'))),
            (Some(least), None) => Some(format!("at least {least}{of}")),
            (None, None) => None,
        })
        .collect()
}

/// A text of the schema as one cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

#[test]
fn options_are_those_of_the_schema() {
    let schema = schema();
    let mut all = Vec::new();
    keys(
        &schema,
        "",
        schema["properties"].as_object().unwrap(),
        &mut all,
    );
    let mut page = String::from(
        "# Options\nThis table has each key of the filter's configuration. It is generated from the schema (`caracal-edge check --schema`). The filter does not start if a key is unknown or repeated, if a value has the wrong type or is out of range, or if the proxy cannot do what is configured. The proxy's log then names the key. [Configure](../configure.md) explains more. The requirements (`require*` and `max_hop_count`) may also be set in resources, in routes, and in the methods of routes.\n\n| key | default | range | meaning |\n|---|---|---|---|\n",
    );
    for (name, property) in &all {
        let default = match &property["default"] {
            Value::Null => String::new(),
            Value::Object(members) if !members.is_empty() => "below".to_owned(),
            value => format!("`{value}`"),
        };
        let described = property["description"].as_str().unwrap_or_default();
        let described = match name.rsplit('.').next() {
            Some("require_agent") => "An older name of `require_session`.",
            Some("expected_zone_id") => "An older name of `zone_id`.",
            _ => described,
        };
        let meaning = cell(described);
        writeln!(
            page,
            "| `{name}` | {default} | {} | {meaning} |",
            range(property)
        )
        .unwrap();
    }
    page.push_str("\n## Default headers to the upstream\n| header | claim |\n|---|---|\n");
    let headers = &schema["properties"]["forward"]["default"]["headers"];
    for (header, claim) in headers.as_object().unwrap() {
        writeln!(page, "| `{header}` | `{}` |", claim.as_str().unwrap()).unwrap();
    }
    assert!(all.len() > 40, "{}", all.len());
    is_generated("options.md", &page);
}

fn help(command: &[&str]) -> String {
    let done = Command::new(root().join("dist/caracal-edge"))
        .args(command)
        .arg("--help")
        .env_clear()
        .output()
        .unwrap();
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn the_command_line_is_as_it_is_printed() {
    let whole = help(&[]);
    let commands = whole.split("Commands:\n").nth(1).unwrap();
    let commands = commands.lines().take_while(|line| !line.is_empty());
    // What a description goes on in is further to the right.
    let commands = commands.filter(|line| !line.starts_with("   "));
    let names = commands.filter_map(|line| line.split_whitespace().next());
    let mut page = String::from(
        "# Command line\nWhat `caracal-edge --help` and `caracal-edge COMMAND --help` print, generated from the program. `caracal-edge completions SHELL` prints completions, and `caracal-edge man DIRECTORY` writes these pages for `man`.\n\nAn option wins over its variable in the environment. An address may leave its scheme out: `127.0.0.1:7700` is `http://127.0.0.1:7700`, and beyond loopback `https://`; for Redis `redis://` and `rediss://`. On a terminal, lines are broken at its width, coloured unless `NO_COLOR` is set, and what is waited for is shown.\n",
    );
    let section = |name: &str, text: &str| {
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        format!("\n## {name}\n```text\n{}\n```\n", lines.join("\n"))
    };
    page.push_str(&section("caracal-edge", &whole));
    for name in names.filter(|name| *name != "help") {
        page.push_str(&section(name, &help(&[name])));
    }
    assert!(page.matches("\n## ").count() >= 12, "{page}");
    is_generated("command-line.md", &page);
}

#[test]
fn warnings_are_those_of_check() {
    let listed = Command::new(root().join("dist/caracal-edge"))
        .args(["check", "--list-warnings"])
        .output()
        .unwrap();
    let listed: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
    let mut page = String::from(
        "# Warnings\nWhat `caracal-edge check` warns of, generated from the program (`caracal-edge check --list-warnings`). None of them keeps the filter from starting, so none is an error; with `--strict` the exit status is 1 where there is one. With `--json` they are in the list `warnings`, each with `name`, `where`, `why` and `fix`. Names are stable.\n\n| name | when | what happens then | what to do |\n|---|---|---|---|\n",
    );
    for one in &listed {
        let text = |name: &str| cell(one[name].as_str().unwrap());
        writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            text("name"),
            text("when"),
            text("why"),
            text("fix")
        )
        .unwrap();
    }
    assert!(listed.len() > 5, "{listed:?}");
    is_generated("warnings.md", &page);
}

fn page(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).unwrap()
}

#[test]
fn every_option_of_the_companion_is_in_its_table() {
    let (text, help) = (page("companion.md"), help(&["feed"]));
    let options = help
        .split_whitespace()
        .filter(|word| word.starts_with("--"));
    for option in options.filter(|o| !["--address-file", "--help"].contains(o)) {
        let option = option.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        assert!(
            text.contains(&format!("`{option}`")),
            "{option} is not in the table"
        );
    }
}

#[test]
fn every_error_is_in_its_table() {
    let text = page("reference/errors.md");
    for code in ErrorCode::ALL {
        let (name, http, grpc) = (code.as_str(), code.http_status(), code.grpc_status());
        let row = format!("\n| `{name}` | {http} | {grpc} |");
        assert!(text.contains(&row), "{row}");
    }
    for code in ErrorCode::GATEWAY {
        let (http, name) = code.of_gateway();
        let row = format!("\n| `{}` | {http} | `{name}` |", code.as_str());
        assert!(text.contains(&row), "{row}");
    }
}

/// What a client gets, beside our code.
#[test]
fn every_code_of_gateway_mode_is_in_its_table() {
    let text = page("gateway.md");
    let rows: Vec<&str> = text.lines().filter(|row| row.starts_with("| G")).collect();
    for code in ErrorCode::ALL.into_iter().chain(ErrorCode::GATEWAY) {
        let (http, name) = code.of_gateway();
        let own = format!(" | `{}` | ", code.as_str());
        let found = rows.iter().filter(|row| row.contains(&own));
        let client = format!(" | {http} `{name}`");
        assert!(found.clone().count() > 0, "{own}");
        for row in found {
            assert!(row.contains(&client), "{row} has not {client}");
        }
    }
}

#[test]
fn every_reason_is_in_its_table() {
    let text = page("observe.md");
    for reason in Reason::ALL {
        let row = format!("\n| `{}` | `", reason.as_str());
        assert_eq!(text.matches(&row).count(), 1, "{}", reason.as_str());
    }
}

#[test]
fn every_metric_of_the_filter_is_in_its_table() {
    let files = ["metrics.rs", "metrics/names.rs"];
    let files = files.map(|file| root().join("filters/mandate/src/vm").join(file));
    let source = files.map(|file| std::fs::read_to_string(file).unwrap());
    let source = source.concat();
    let text = page("observe.md");
    let names = source.split("\"caracal_").skip(1).map(|rest| {
        let end = rest.find(|c: char| !(c.is_ascii_lowercase() || c == '_'));
        rest.split_at(end.unwrap()).0
    });
    let names: std::collections::BTreeSet<&str> = names.collect();
    assert!(names.len() > 18, "{names:?}");
    for name in names {
        assert!(text.contains(&format!("\n| `{name}` |")), "{name}");
    }
}
