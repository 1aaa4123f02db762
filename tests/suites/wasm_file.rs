//! What the wasm file asks of a host: no sockets, no threads, no random source,
//! and nothing that a host lacks. An import that a host does not have keeps the
//! whole module from loading there.

use std::collections::BTreeSet;

use caracal_tests::filter_wasm;
use wasmtime::{Engine, Module};

/// WASI calls that the hosts have, and that reach nothing outside.
const WASI: [&str; 5] = [
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proc_exit",
];

/// Host calls that some hosts do not have (HOSTS: `get_log_level` and others).
const NOT_EVERYWHERE: [&str; 4] = [
    "proxy_get_log_level",
    "proxy_get_metric",
    "proxy_get_buffer_status",
    "proxy_get_header_map_size",
];

/// Largest file, in bytes: one that grows past it links something it should not.
const MOST_BYTES: u64 = 640 * 1024;

#[test]
fn only_known_calls_are_imported() {
    let module = Module::from_file(&Engine::default(), filter_wasm()).unwrap();
    for import in module.imports() {
        let name = import.name();
        match import.module() {
            "env" => {
                assert!(name.starts_with("proxy_"), "{name}");
                assert!(!NOT_EVERYWHERE.contains(&name), "{name}");
            }
            "wasi_snapshot_preview1" => assert!(WASI.contains(&name), "{name}"),
            other => panic!("{other}.{name}"),
        }
    }
}

/// Proxies fetch it, and compile it for each start.
#[test]
fn it_is_under_600_kib() {
    let size = std::fs::metadata(filter_wasm()).unwrap().len();
    assert!(size < 600 * 1024, "{size} bytes");
}

/// Every import and export, against the list beside this file: a change of what
/// the file asks of a host, or offers it, is seen in review.
#[test]
fn imports_and_exports_are_the_listed_ones() {
    let module = Module::from_file(&Engine::default(), filter_wasm()).unwrap();
    let imports = module
        .imports()
        .map(|i| format!("import {}.{}", i.module(), i.name()));
    let exports = module
        .exports()
        .map(|export| format!("export {}", export.name()));
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
    let module = Module::from_file(&Engine::default(), filter_wasm()).unwrap();
    let exports: BTreeSet<&str> = module.exports().map(|export| export.name()).collect();
    let versions: Vec<&&str> = exports
        .iter()
        .filter(|name| name.starts_with("proxy_abi_version"))
        .collect();
    assert_eq!(versions, [&"proxy_abi_version_0_2_1"]);
    for name in ["memory", "proxy_on_configure", "proxy_on_request_headers"] {
        assert!(exports.contains(name), "{name}");
    }
}

#[test]
fn the_file_is_small() {
    let size = std::fs::metadata(filter_wasm()).unwrap().len();
    assert!(size <= MOST_BYTES, "{size} bytes");
}
