//! The shape that ARCHITECTURE.md describes: modules import each other one way, only
//! `proxy/` names a proxy, only `abi/` is unsafe, and files stay short.

mod modules;

use std::collections::BTreeSet;
use std::path::Path;

use caracal_tests::root;

use modules::{Crate, Sources, shown, words};

/// Longest file, in lines.
const MOST_LINES: usize = 400;

/// The crates, each with the file of its root.
const CRATES: [(&str, &str); 4] = [
    ("filters/mandate", "lib.rs"),
    ("src/mandate", "lib.rs"),
    ("src/feed", "lib.rs"),
    ("src/cli", "main.rs"),
];

/// The rooms of the filter. Each knows those before it, and none behind it.
const ROOMS: [&str; 5] = ["abi", "proxy", "vm", "request", "contexts"];

/// The rooms of the core, likewise.
const CORE: [&str; 22] = [
    "json",
    "bytes",
    "header_names",
    "reply",
    "framing",
    "mcp",
    "request",
    "fetch_failure",
    "shared_record",
    "zone",
    "jwks",
    "token",
    "revocation",
    "routing",
    "metadata",
    "readiness",
    "config",
    "baggage",
    "forwarding",
    "audit",
    "exchange",
    "decision",
];

/// The Rust files below a folder of the project.
fn sources_below(folder: &str) -> Sources {
    fn read(folder: &Path, prefix: &str, found: &mut Sources) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                read(&path, &format!("{prefix}{name}/"), found);
            } else if name.ends_with(".rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.insert(format!("{prefix}{name}"), text);
            }
        }
    }
    let mut found = Sources::new();
    read(&root().join(folder), "", &mut found);
    found
}

/// The sources of a crate.
fn sources(of: &str) -> Sources {
    sources_below(&format!("{of}/src"))
}

#[test]
fn no_module_imports_one_that_imports_it() {
    for (name, root) in CRATES {
        let found = Crate::read(root, &sources(name)).circles();
        assert!(found.is_empty(), "{name}: break these circles: {found:?}");
    }
}

#[test]
fn every_room_of_the_filter_knows_only_those_below_it() {
    knows_only_those_below("filters/mandate", &ROOMS);
}

#[test]
fn every_room_of_the_core_knows_only_those_below_it() {
    knows_only_those_below("src/mandate", &CORE);
}

fn knows_only_those_below(of: &str, rooms: &[&str]) {
    let found = Crate::read("lib.rs", &sources(of));
    let height = |module: &[String]| rooms.iter().position(|room| *room == module[0]);
    for (module, imports) in &found.imports {
        // The crate's root has an entry or names for others, and no code besides.
        let Some(first) = module.first() else {
            continue;
        };
        let height_of_this = height(module).unwrap_or_else(|| panic!("{first} is no room"));
        for import in imports {
            let known = !import.is_empty() && height(import).unwrap() <= height_of_this;
            assert!(known, "{} imports {}", shown(module), shown(import));
        }
    }
}

/// The words by which the proxies are told apart: their names, and the configuration's key.
#[test]
fn only_the_proxy_room_asks_which_proxy_it_is() {
    let words_for_it = ["Envoy", "Kong", "Apisix", "ProxyKind", "host", "is_nginx"];
    let words_for_it = BTreeSet::from(words_for_it.map(str::to_owned));
    for (file, text) in sources("filters/mandate") {
        let found: Vec<String> = words(&text).intersection(&words_for_it).cloned().collect();
        let may = file.starts_with("proxy/");
        assert!(may || found.is_empty(), "{file} says {found:?}");
    }
}

#[test]
fn only_the_abi_room_is_unsafe() {
    for (file, text) in sources("filters/mandate") {
        let words = words(&text);
        // The SDK's macro exports symbols from the crate's root.
        let is_lifted = words.contains("unsafe_code") && file != "lib.rs";
        let is_unsafe = words.contains("unsafe") || is_lifted;
        assert!(!is_unsafe || file.starts_with("abi/"), "{file}");
    }
}

#[test]
fn files_are_short() {
    for folder in ["src", "filters", "tests"] {
        for (file, text) in sources_below(folder) {
            let lines = text.lines().count();
            assert!(lines <= MOST_LINES, "{folder}/{file} has {lines} lines");
        }
    }
}

fn made_up(files: &[(&str, &str)]) -> Crate {
    let texts = files.iter();
    let sources = texts.map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
    Crate::read("lib.rs", &sources.collect())
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let ways = [
        "use crate::b::{self, c::D};",
        "use super::b::c as other;",
        "fn f() { crate::b::c::d(); }",
        "type T = Option<crate::b::c::D>;",
        "m! { crate::b::c::D }",
        "use crate::{b::{c::{D, E}}, x};",
        "use crate::D;",
        "use crate::b::*; use crate::b::c::*;",
    ];
    for way in ways {
        let files = [
            ("lib.rs", "mod a; mod b; mod x; pub use b::c::D;"),
            ("a.rs", way),
            ("b/mod.rs", "pub mod c;"),
            ("b/c.rs", "use crate::a::A;"),
            ("x.rs", ""),
        ];
        assert_eq!(made_up(&files).circles(), [["a", "b::c"]], "{way}");
    }
}

#[test]
fn what_is_no_circle_is_not_taken_for_one() {
    let ways = [
        "use other::b::c::D;",
        "#[cfg(test)] mod tests { use crate::b::c::D; }",
        "#[cfg(test)] use crate::b::c::D; fn f() {}",
        "/// `crate::b::c`\nconst C: &str = \"crate::b::c::D\";",
        "use crate::b;",
    ];
    for way in ways {
        let files = [
            ("lib.rs", "mod a; mod b; pub use b::c::D;"),
            ("a.rs", way),
            ("b/mod.rs", "pub mod c;"),
            ("b/c.rs", "use crate::a::A;"),
        ];
        assert!(made_up(&files).circles().is_empty(), "{way}");
    }
}

/// CONTRIBUTING.md says of every suite what it is about.
#[test]
fn every_suite_is_in_the_map() {
    let manifest = std::fs::read_to_string(root().join("tests/Cargo.toml")).unwrap();
    let map = std::fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let suites = manifest.split("[[test]]\n").skip(1).map(|part| {
        let name = part.lines().next().unwrap();
        name.trim_start_matches("name = ").trim_matches('"')
    });
    let missing: Vec<&str> = suites
        .filter(|suite| !map.contains(&format!("| `{suite}` |")))
        .collect();
    assert!(missing.is_empty(), "not in CONTRIBUTING.md: {missing:?}");
}
