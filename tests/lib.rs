//! What the suites in `suites/` stand on: the in-process proxy host, a real
//! Envoy with servers around it, and the conformance vectors.

pub mod bound;
pub mod burst;
pub mod companion;
pub mod conformance;
pub mod edge;
pub mod envoy;
pub mod faulted;
pub mod host;
pub mod hostile;
pub mod hosts;
pub mod http2;
pub mod mint;
pub mod processes;
pub mod redis_topology;
pub mod replicas;
pub mod servers;
pub mod signature_cases;

use std::path::PathBuf;

/// The project's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

/// The filter as a proxy loads it: `CARACAL_FILTER_WASM`, or what `make build`
/// leaves.
pub fn filter_wasm() -> PathBuf {
    let path = std::env::var_os("CARACAL_FILTER_WASM")
        .map_or_else(|| root().join("dist/caracal_filter.wasm"), PathBuf::from);
    assert!(
        path.is_file(),
        "{} is missing: run `make build`",
        path.display()
    );
    path
}
