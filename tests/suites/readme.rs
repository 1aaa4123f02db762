//! Every snippet of the README is run, and what it lists is all there is.

use std::process::Command;

use caracal_mandate::config::Configuration;
use caracal_mandate::reply::ErrorCode;
use caracal_tests::root;
use serde_json::Value;

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

/// The fenced blocks, by language, in order.
fn snippets(language: &str) -> Vec<String> {
    let text = readme();
    let fence = format!("```{language}\n");
    text.split(&fence)
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

/// Every test that the bounds name is one.
#[test]
fn the_bounds_are_driven() {
    let bounds = std::fs::read_to_string(root().join("deploy/BOUNDS.md")).unwrap();
    let sources = Command::new("git")
        .args([
            "grep",
            "-h",
            "-E",
            "^ *(async )?fn [a-z0-9_]+\\(",
            "--",
            "src",
            "tests",
            "filters",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    let sources = String::from_utf8(sources.stdout).unwrap();
    let mut named = 0;
    for row in bounds.lines().filter(|line| line.starts_with("| ")) {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for test in cell
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|test| test.contains('_'))
        {
            named += 1;
            assert!(
                sources.contains(&format!("fn {test}(")),
                "{test} is no test"
            );
        }
    }
    assert!(named > 30, "{named}");
}

#[test]
fn only_known_kinds_of_snippets_stand_there() {
    // The rights in `acl` are given to users of a real Redis in `suites/companion`.
    let known: usize = ["sh", "yaml", "json", "acl"]
        .map(|l| snippets(l).len())
        .iter()
        .sum();
    assert_eq!(readme().matches("\n```").count(), 2 * known);
}

/// `make test` is what runs this, and is looked up instead.
#[test]
fn the_commands_run() {
    for script in snippets("sh") {
        if script == "make test\n" {
            let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
            assert!(makefile.contains("\ntest:"));
            continue;
        }
        let said = runs(&script);
        if script.starts_with("make up") {
            is_played_with(&said);
            // Again where somebody else has the ports. Who has one already keeps it.
            let taken: Vec<_> = [7700, 7701, 7702, 10000, 9901]
                .map(|port| std::net::TcpListener::bind(("127.0.0.1", port)))
                .into();
            is_played_with(&runs(&script));
            drop(taken);
        }
        if script.starts_with("make demo") {
            assert!(said.contains("as expected"), "{said}");
        }
    }
}

/// As in a shell. What cargo tells of the package under test makes build scripts of other
/// packages run again, and then half of the release build.
fn runs(script: &str) -> String {
    let mut shell = Command::new("bash");
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            shell.env_remove(name);
        }
    }
    let done = shell
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(root())
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(done.status.success(), "{script}\n{said}");
    said
}

fn is_played_with(said: &str) {
    assert!(said.contains(r#""x-caracal-sub":"user-1""#), "{said}");
    assert!(said.contains("missing_token"), "{said}");
    assert!(said.contains("session_revoked"), "{said}");
}

#[test]
fn the_yaml_is_the_one_that_the_demo_runs() {
    let envoy = std::fs::read_to_string(root().join("envoy.yaml")).unwrap();
    for snippet in snippets("yaml") {
        assert!(envoy.contains(&snippet), "{snippet}");
    }
}

#[test]
fn the_configurations_are_taken() {
    let found = snippets("json");
    assert!(!found.is_empty());
    for snippet in found {
        let taken = Configuration::from_json(snippet.as_bytes(), &|_| None);
        assert!(taken.is_ok(), "{taken:?}");
    }
}

#[test]
fn every_option_and_every_error_is_in_its_table() {
    let text = readme();
    let schema = std::fs::read(root().join("src/mandate/config.schema.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let mut names = Vec::new();
    for (name, property) in schema["properties"].as_object().unwrap() {
        let target = property["$ref"].as_str().and_then(|r| r.strip_prefix('#'));
        let target = target.and_then(|t| schema.pointer(t));
        // What can be one of several things has a row of its own, and the keys of each.
        let variants = target.and_then(|t| t["anyOf"].as_array());
        let several = variants
            .into_iter()
            .flatten()
            .filter_map(|variant| schema.pointer(variant["$ref"].as_str()?.strip_prefix('#')?));
        let mut plain = true;
        for members in target.into_iter().chain(several) {
            let Some(members) = members["properties"].as_object() else {
                continue;
            };
            names.extend(members.keys().map(|key| format!("{name}.{key}")));
            plain = false;
        }
        if plain || variants.is_some() {
            names.push(name.clone());
        }
        // A map's values have keys of their own; those that stand for themselves at the
        // top are described there.
        let of_map = property["additionalProperties"]["$ref"].as_str();
        let of_map = of_map.and_then(|r| schema.pointer(&format!("{}/properties", &r[1..])));
        let own = of_map.and_then(Value::as_object).into_iter().flatten();
        let own = own.filter(|(key, _)| {
            let is_requirement = key.starts_with("require") || *key == "max_hop_count";
            !is_requirement
        });
        names.extend(own.map(|(key, _)| format!("{name}.*.{key}")));
    }
    assert!(
        names.contains(&"revocation.upstream".to_owned()),
        "{names:?}"
    );
    for name in names {
        let alias = ["expected_zone_id", "require_agent"].contains(&name.as_str());
        let row = format!("`{name}`");
        let mut first_cells = text.lines().filter_map(|line| {
            let cell = line.strip_prefix("| ")?.split(" | ").next()?;
            Some(cell.split(", ").any(|one| one == row))
        });
        let is_listed = first_cells.any(|found| found);
        assert!(alias || is_listed, "{name} is not in the table");
    }
    let help = Command::new(root().join("dist/caracal-edge"))
        .args(["feed", "--help"])
        .output();
    let help = String::from_utf8(help.unwrap().stdout).unwrap();
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
    for code in ErrorCode::ALL {
        let (name, http, grpc) = (code.as_str(), code.http_status(), code.grpc_status());
        let row = format!("\n| `{name}` | {http} | {grpc} |");
        assert!(text.contains(&row), "{row}");
    }
}
