//! A build step: `caracal-trim IN OUT [--keep-names]`.
//!
//! The SDK exports a function for every callback. A proxy enters the VM for each exported
//! callback, several times in every request, even if there is nothing to do. This step
//! keeps the callbacks that are named here, and removes the others with all code and all
//! imports that only they needed. Some callbacks of the filter replace those of the SDK.

use anyhow::{Context as _, bail};

/// What a host must find in the file (proxy-wasm ABI 0.2.1): the callbacks that the
/// filter uses, and those that a host calls without asking whether they exist
/// (`tests/suites/wasm_demands.txt` says which host requires what).
const KEPT: [&str; 17] = [
    "_initialize",
    "memory",
    "proxy_abi_version_0_2_1",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_done",
    "proxy_on_http_call_response",
    "proxy_on_log",
    "proxy_on_memory_allocate",
    "proxy_on_request_body",
    "proxy_on_request_headers",
    "proxy_on_request_trailers",
    "proxy_on_response_body",
    "proxy_on_response_headers",
    "proxy_on_tick",
    "proxy_on_vm_start",
];

/// The filter's own callbacks, which replace those of the SDK.
const OURS: [(&str, &str); 5] = [
    (
        "caracal_on_http_call_response",
        "proxy_on_http_call_response",
    ),
    ("caracal_on_response_headers", "proxy_on_response_headers"),
    ("caracal_on_response_body", "proxy_on_response_body"),
    ("caracal_on_log", "proxy_on_log"),
    ("caracal_on_done", "proxy_on_done"),
];

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(input), Some(output)) = (arguments.next(), arguments.next()) else {
        bail!("caracal-trim IN OUT [--keep-names]");
    };
    // For a profile, which says where the work goes.
    let keep_names = match arguments.next() {
        None => false,
        Some(option) if option == "--keep-names" => true,
        Some(_) => bail!("caracal-trim IN OUT [--keep-names]"),
    };
    let mut config = walrus::ModuleConfig::new();
    config
        .generate_name_section(keep_names)
        .generate_producers_section(false);
    let mut module = config
        .parse_file(&input)
        .context("the file cannot be read")?;
    for (ours, name) in OURS {
        let export = module.exports.get_func(ours).context(ours)?;
        module.exports.remove(name).context(name)?;
        module.exports.add(name, export);
    }
    for name in KEPT {
        if !module.exports.iter().any(|export| export.name == name) {
            bail!("the file does not export {name}");
        }
    }
    let unused: Vec<_> = module
        .exports
        .iter()
        .filter(|export| !KEPT.contains(&export.name.as_str()))
        .map(walrus::Export::id)
        .collect();
    for export in unused {
        module.exports.delete(export);
    }
    walrus::passes::gc::run(&mut module);
    module
        .emit_wasm_file(&output)
        .context("the file cannot be written")
}
