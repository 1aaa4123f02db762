//! `caracal-edge check` with proxies' files, for one request, and of two
//! configurations: what it says is let through in addition is held against what the
//! core admits, over a grid of requests and mandates.

mod edges;
mod forms;
mod gateway;
mod grid;
mod mcp;
mod pairs;
mod said;
mod unguarded;
mod warnings;
mod zones;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use caracal_tests::mint::configuration;
use caracal_tests::root;
use serde_json::{Value, json};

use edges::{Asked, Edge, Keys, Mandate, World, mandates, worlds};
use grid::{paths, requests};
use pairs::pairs;
use said::Said;

fn folder(name: &str) -> PathBuf {
    // Tests that run at the same time may use one name.
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::SeqCst);
    let process = std::process::id();
    let folder = std::env::temp_dir().join(format!("caracal-check-{process}-{count}-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn call(arguments: &[&str]) -> Output {
    Command::new(root().join("dist/caracal-edge"))
        .arg("check")
        .args(arguments)
        .env_remove("CARACAL_STS_URL")
        .env_remove("CARACAL_ZONE_ID")
        .output()
        .unwrap()
}

/// What is said of two configurations, and the exit status.
fn compare(name: &str, old: &Value, new: &Value) -> (Value, String, i32) {
    let folder = folder(name);
    let file = |name: &str, content: &Value| {
        let file = folder.join(name);
        fs::write(&file, content.to_string()).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (old, new) = (file("old.json", old), file("new.json", new));
    let done = call(&[&new, "--against", &old, "--json"]);
    let words = call(&[&new, "--against", &old]);
    assert_eq!(done.status.code(), words.status.code());
    let _ = fs::remove_dir_all(&folder);
    let said = serde_json::from_slice(&done.stdout);
    let said = said.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&done.stderr)));
    let words = String::from_utf8(words.stdout).unwrap();
    (said, words, done.status.code().unwrap())
}

#[test]
fn what_is_let_through_in_addition_is_exactly_what_is_said() {
    let keys = Keys::new();
    let mandates = mandates(&keys);
    let pairs = pairs();
    for pair in &pairs {
        let (said, words, code) = compare(pair.name, &pair.old, &pair.new);
        for part in pair.words {
            assert!(words.contains(part), "{}: {part}\n{words}", pair.name);
        }
        let said = Said(said, format!("{}{}", pair.old, pair.new));
        let (mut old, mut new) = (Edge::new(&pair.old, &keys), Edge::new(&pair.new, &keys));
        let (plain, strange) = paths(pair);
        let few = |n: usize| mandates.iter().step_by(n).map(Some).chain([None]);
        let all: Vec<Option<&Mandate>> = few(1).collect();
        let some: Vec<Option<&Mandate>> = few(7).collect();
        let (mut judged, mut newly) = (0, 0);
        let mut put = |asked: &Asked, mandate: Option<&Mandate>, world: World| {
            let was = old.admits(asked, mandate, world);
            let is = new.admits(asked, mandate, world);
            let predicted = is && !was && said.lets_through(asked, mandate, world, &old);
            let over = is && was && {
                let any = said.lets_through(asked, mandate, world, &old);
                // What passes without a mandate passes with one, which the old one
                // may have admitted too: that is said of requests it refused.
                any && !new.excludes(asked)
            };
            judged += 1;
            newly += usize::from(is && !was);
            assert_eq!(
                (predicted, over),
                (is && !was, false),
                "{}: {asked:?} {:?} {world:?}\n{words}",
                pair.name,
                mandate.map(|m| &m.claims)
            );
        };
        let requests_plain = requests(pair, &plain);
        let with = if requests_plain.len() > 100 {
            &some
        } else {
            &all
        };
        for asked in &requests_plain {
            for mandate in with {
                put(asked, *mandate, World::default());
            }
        }
        for asked in &requests(pair, &strange) {
            for mandate in some.iter().step_by(4).chain([&None]) {
                put(asked, *mandate, World::default());
            }
        }
        for world in worlds() {
            for asked in requests_plain.iter().step_by(3) {
                for mandate in &some {
                    put(asked, *mandate, world);
                }
            }
        }
        println!(
            "{}: {judged} judged, {newly} let through in addition",
            pair.name
        );
        let expected = i32::from(newly > 0);
        assert_eq!(code, expected, "{}: {words}", pair.name);
    }
    assert!(pairs.len() >= 10);
}

#[test]
fn what_cannot_be_compared_ends_with_2() {
    let folder = folder("two");
    let good = folder.join("good.json");
    fs::write(&good, configuration(json!({})).to_string()).unwrap();
    let bad = folder.join("bad.json");
    fs::write(&bad, "{}").unwrap();
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    for (new, old) in [(good, bad), (bad, good), (good, "/does/not/exist")] {
        let done = call(&[new, "--against", old]);
        assert_eq!(done.status.code(), Some(2));
        assert!(done.stdout.is_empty() && !done.stderr.is_empty());
    }
    assert_eq!(call(&[good, "--against", good]).status.code(), Some(0));
}

#[test]
fn the_rule_of_one_request_is_shown() {
    let folder = folder("one");
    let file = folder.join("filter.json");
    let edge = configuration(json!({
        "exclude": ["/healthz"], "required_scopes": ["a"],
        "challenge": {"realm": "h"}, "metadata": {"resource": "https://h.test/mcp"},
        "routes": {"/pay": {"required_scopes": ["b"], "methods": {"POST": {"required_scopes": ["c"]}}}},
    }));
    fs::write(&file, edge.to_string()).unwrap();
    let show = |more: &[&str]| {
        let arguments = [&[file.to_str().unwrap()], more].concat();
        let words = call(&arguments);
        let said = call(&[&arguments[..], &["--json"]].concat());
        let said: Value = serde_json::from_slice(&said.stdout).unwrap();
        (
            String::from_utf8(words.stdout).unwrap(),
            said["request"].clone(),
        )
    };
    let (words, said) = show(&["--path", "/pay/1?x", "--method", "POST"]);
    assert_eq!(said["requires"]["required_scopes"], json!(["c"]));
    assert!(words.contains("POST of the route \"/pay\""), "{words}");
    let (_, said) = show(&["--path", "/pay/1"]);
    assert_eq!(said["requires"]["required_scopes"], json!(["b"]));
    let (words, said) = show(&["--path", "/healthz"]);
    assert_eq!(said["excluded"], true);
    assert!(words.contains("passes without a mandate"), "{words}");
    let (words, said) = show(&["--path", "/x/%2e%2e/pay"]);
    assert_eq!(said["refused"]["error"], "invalid_request");
    assert!(
        words.contains("read as   \"/pay\", under the route \"/pay\""),
        "{words}"
    );
    assert!(words.contains("400 invalid_request"), "{words}");
    let (_, said) = show(&["--path", "/pay", "--method", "post"]);
    assert_eq!(said["refused"]["status"], 400);
    let at = "/.well-known/oauth-protected-resource/mcp";
    let (words, said) = show(&["--path", at]);
    assert_eq!(said["document"]["resource"], "https://h.test/mcp");
    assert!(
        words.contains("answered  by the filter, without a mandate"),
        "{words}"
    );
    let (words, said) = show(&["--path", at, "--method", "POST"]);
    assert!(
        said["document"].is_null() && words.contains("requires  "),
        "{words}"
    );
    let (words, _) = show(&[]);
    for line in [
        "metadata  https://h.test/.well-known/oauth-protected-resource/mcp, answered without a mandate",
        "challenge realm \"h\", the scopes of the operation, https://h.test/.well-known/oauth-protected-resource/mcp",
    ] {
        assert!(words.contains(line), "{words}");
    }
}

/// Every file for a proxy in this repository holds a configuration that is taken.
#[test]
fn the_proxies_files_here_are_read() {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "--",
            "envoy.yaml",
            "deploy/*.yaml",
            "deploy/*.yml",
            "deploy/**/*.yaml",
            "deploy/**/*.yml",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let mut number = 0;
    for file in listed.lines() {
        let path = root().join(file);
        // APISIX's own settings name the file, and configure no filter.
        let is_settings = file == "deploy/apisix/config.yaml";
        let text = fs::read_to_string(&path).unwrap();
        if is_settings || !text.contains("caracal_filter") {
            continue;
        }
        number += 1;
        let done = call(&[path.to_str().unwrap(), "--json"]);
        let said: Value = serde_json::from_slice(&done.stdout).unwrap_or_default();
        assert_eq!(
            said["ok"],
            true,
            "{file}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        assert!(
            said["filter"].is_string() || said["filters"].is_array(),
            "{file}"
        );
    }
    assert!(number >= 3, "{listed}");
}
