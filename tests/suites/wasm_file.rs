//! What the wasm file asks of a host: no sockets, no threads, no random source,
//! and nothing that a host lacks. An import that a host does not have keeps the
//! whole module from loading there; an export that it calls and does not find may
//! cost it a worker.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::companion::InProcess;
use caracal_tests::filter_wasm;
use caracal_tests::host::{Answer, Headers, Level, Module as Played, Outcome, Proxy, Request};
use caracal_tests::hosts::{self, ENVOY, On};
use caracal_tests::mint::{Key, key_set};
use serde_json::json;
use walrus::Module;

/// Which host demands what.
const DEMANDS: &str = include_str!("wasm_demands.txt");
const START: u64 = 1_767_225_600;

/// WASI calls that the hosts have, and that reach nothing outside.
const WASI: [&str; 5] = [
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proc_exit",
];

/// The file's parts. To compile it takes seconds.
fn file() -> Module {
    Module::from_file(filter_wasm()).unwrap()
}

#[test]
fn only_known_calls_are_imported() {
    let module = file();
    for import in module.imports.iter() {
        let name = import.name.as_str();
        match import.module.as_str() {
            "env" => {
                assert!(name.starts_with("proxy_"), "{name}");
                assert!(!lacked().iter().any(|(_, lacks)| *lacks == name), "{name}");
            }
            "wasi_snapshot_preview1" => assert!(WASI.contains(&name), "{name}"),
            other => panic!("{other}.{name}"),
        }
    }
}

/// Proxies fetch it, and compile it for each start.
#[test]
fn it_is_under_920_kib() {
    let size = std::fs::metadata(filter_wasm()).unwrap().len();
    assert!(size < 920 * 1024, "{size} bytes");
}

/// Every import and export, against the list beside this file: a change of what
/// the file asks of a host, or offers it, is seen in review.
#[test]
fn imports_and_exports_are_the_listed_ones() {
    let module = file();
    let imports = module.imports.iter();
    let imports = imports.map(|i| format!("import {}.{}", i.module, i.name));
    let exports = module.exports.iter();
    let exports = exports.map(|export| format!("export {}", export.name));
    let mut found: Vec<String> = imports.chain(exports).collect();
    found.sort();
    let found = found.join("\n") + "\n";
    let file = caracal_tests::root().join("tests/suites/wasm_file.txt");
    if std::env::var_os("UPDATE_WASM_FILE").is_some() {
        std::fs::write(&file, &found).unwrap();
    }
    let listed = std::fs::read_to_string(&file).unwrap();
    assert_eq!(
        found, listed,
        "if it is meant: UPDATE_WASM_FILE=1 cargo test -p caracal-tests --test wasm_file"
    );
}

#[test]
fn the_abi_is_the_one_all_hosts_speak() {
    let module = file();
    let exports: BTreeSet<&str> = module.exports.iter().map(|e| e.name.as_str()).collect();
    let versions: Vec<&&str> = exports
        .iter()
        .filter(|name| name.starts_with("proxy_abi_version"))
        .collect();
    assert_eq!(versions, [&"proxy_abi_version_0_2_1"]);
    for name in ["memory", "proxy_on_configure", "proxy_on_request_headers"] {
        assert!(exports.contains(name), "{name}");
    }
}

/// The lines `WHO VERB NAME` of the list.
fn demands(verb: &str) -> Vec<(&'static str, &'static str)> {
    let verb = format!(" {verb} ");
    let lines = DEMANDS.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(&verb)).collect()
}

fn lacked() -> Vec<(&'static str, &'static str)> {
    demands("lacks")
}

/// The module without one of its exports.
fn without(export: &str) -> Played {
    let mut module = file();
    module.exports.remove(export).unwrap();
    Played::from_bytes(module.emit_wasm()).unwrap()
}

/// A few requests as a host sees them from the first to the last byte. False when
/// anything of it is not as it should be.
fn serves(on: On, module: &Played) -> bool {
    let said = catch_unwind(AssertUnwindSafe(|| go_well(on, module)));
    matches!(said, Ok(Ok(())))
}

fn go_well(on: On, module: &Played) -> Result<(), String> {
    let companion = Rc::new(InProcess::default());
    let configuration = on.configuration(json!({
        "revocation": {"upstream": "feed", "max_staleness_s": 10}, "exclude": ["/open"],
    }));
    let mut proxy = on
        .builder_of(module.clone(), &configuration)
        .wall(Duration::from_secs(START))
        .on_callout(move |callout| match on.is_sts(callout) {
            true => Answer::json(&key_set(&[&Key::new("k1", 1)])),
            false => companion.answer(callout),
        })
        .start()
        .map_err(|error| error.to_string())?;
    proxy.advance(Duration::from_secs(1));
    let good = Request::get("/").bearer(Key::new("k1", 1).mandate(START, json!({})));
    let posts = Request::post("/open", "a body").trailers(Headers::from([
        ("x-caracal-sub", "forged"),
        ("x-other", "kept"),
    ]));
    for (request, status) in [(Request::get("/"), 401), (good, 200), (posts, 200)] {
        let stream = proxy.request(0, request);
        let ended = match on.settle(&mut proxy, stream) {
            Outcome::Forwarded(forwarded) if status == 200 => {
                let trailers = forwarded.trailers.unwrap_or_default();
                proxy.respond_open(stream, 200, [("a", "b")]);
                proxy.respond_body(stream, "the service", true);
                !trailers.has("x-caracal-sub") && proxy.outcome(stream).status() == Some(200)
            }
            Outcome::Replied(reply) => reply.status == status,
            _ => false,
        };
        if !ended || !proxy.is_finished(stream) {
            return Err(format!("{:?}", proxy.outcome(stream)));
        }
    }
    let lines = proxy
        .logs()
        .iter()
        .filter(|line| line.level >= Level::Error);
    match (proxy.violations().first(), lines.count()) {
        (None, 0) => Ok(()),
        (wrong, lines) => Err(format!("{wrong:?}, {lines} error lines")),
    }
}

#[test]
fn each_host_finds_what_it_demands_and_fails_without() {
    let whole = Played::from_file(filter_wasm()).unwrap();
    let needed = demands("needs");
    let known: BTreeSet<&str> = needed.iter().map(|(_, export)| *export).collect();
    for on in hosts::ALL {
        go_well(on, &whole).unwrap();
    }
    // Once for all hosts, because compiling takes longer than everything else here.
    for export in &known {
        let of = |on: &On| {
            let mut hosts = needed.iter().filter(|(_, needed)| needed == export);
            hosts.any(|(who, _)| *who == on.name() || *who == "every host")
        };
        let demanding: Vec<On> = hosts::ALL.into_iter().filter(of).collect();
        if demanding.is_empty() {
            continue;
        }
        let module = without(export);
        for on in demanding {
            assert!(!serves(on, &module), "{} without {export}", on.name());
        }
    }
    let module = file();
    let exports: BTreeSet<&str> = module.exports.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(exports, known, "what nobody demands is not exported");
}

#[test]
fn a_host_does_not_load_what_imports_a_call_that_it_lacks() {
    assert!(lacked().len() > 3);
    for (who, import) in lacked() {
        let text =
            format!(r#"(module (import "env" "{import}" (func)) (memory (export "memory") 1))"#);
        let on = hosts::ALL.into_iter().find(|on| on.name() == who).unwrap();
        assert_ne!(on, ENVOY);
        let module = Played::from_bytes(text).unwrap();
        assert!(!serves(on, &module));
        let proxy = match who {
            "kong" => Proxy::kong(module),
            _ => Proxy::apisix(module),
        };
        let refused = proxy.start().err().unwrap().message;
        assert!(refused.contains(import), "{who}: {refused}");
    }
}

/// The file with headers that trap it is another one.
#[test]
fn it_has_no_test_hooks() {
    // What it replies with: the names of the headers are compared word by word.
    let hook = b"test_hook";
    let has = |file: std::path::PathBuf| {
        let bytes = std::fs::read(file).unwrap();
        bytes.windows(hook.len()).any(|window| window == hook)
    };
    assert!(!has(caracal_tests::filter_wasm()));
    assert!(has(caracal_tests::processes::filter_with_hooks()));
}
