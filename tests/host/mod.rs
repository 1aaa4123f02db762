//! The in-process proxy host: a proxy-wasm host for tests, stateful, with a
//! clock and a network under the test's control.
//!
//! It plays Envoy 1.40 ([`Proxy::envoy`]): a canary, a VM on the main thread and
//! one for each worker over one shared data, with Envoy's rules for
//! compare-and-set, ticks, callouts, effective contexts, local replies and traps.
//! And it plays nginx with Kong's ngx_wasm_module ([`Proxy::kong`]) and with
//! APISIX's wasm-nginx-module ([`Proxy::apisix`]), where waiting, removing a
//! header or a trap may be a crash or an open door; where it is not known what
//! they do, the worse is played. What a filter must not do is written down as a
//! [`Violation`], and then has the consequence that it has in the proxy played.
//!
//! ```text
//! let mut proxy = Proxy::envoy(Module::from_file("dist/caracal_filter.wasm")?)
//!     .configuration(config)          // one listener; call again for more
//!     .workers(2)
//!     .clusters(["sts", "feed"])      // others are unknown; default: any name is known
//!     .on_callout(|c| match c.cluster.as_str() {
//!         "sts" => Answer::json(&jwks).after(Duration::from_millis(5)),
//!         _ => Answer::Refused,
//!     })
//!     .start()?;
//! proxy.advance(Duration::from_millis(50));            // ticks and answers run here, nowhere else
//! let stream = proxy.request(0, Request::get("/payouts").bearer(token));
//! assert_eq!(proxy.outcome(stream).replied().status, 401);
//! assert_eq!(proxy.filter_state(stream, "caracal_decision"), Some(&b"denied"[..]));
//! proxy.assert_clean();
//! ```
//!
//! Time stands still but for [`Proxy::advance`]; even an answer that takes no
//! time is delivered there (`advance(Duration::ZERO)` will do).

mod abi;
mod clock;
mod ends;
mod events;
mod flow;
mod headers;
mod metrics;
mod module;
mod network;
mod profile;
mod proxy;
mod request;
mod resume;
mod shared_data;
mod start;
mod streams;
mod values;
mod violation;
mod vm;
mod waits;
mod workers;
mod world;

#[cfg(test)]
mod tests;

pub use headers::Headers;
pub use module::Module;
pub use proxy::Proxy;
pub use request::Request;
pub use shared_data::{OtherPlugin, Values};
pub use start::Builder;
pub use values::{
    Answer, CallbackCost, Callout, Cost, FailurePolicy, Forwarded, Handed, HostCall, HostKind,
    Level, LogLine, Metric, Outcome, Reply, StartError, Stream, Vm, status,
};
pub use violation::{Violation, Wrong};
