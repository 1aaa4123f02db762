//! The filter in each of the hosts that the in-process host plays, alike to a test: its
//! configuration there, and a client that comes again when it is told to.

use std::time::Duration;

use serde_json::{Value, json};

use crate::filter_wasm;
use crate::host::{Builder, Callout, HostKind, Module, Outcome, Proxy, Request, Stream};
use crate::mint::configuration;

/// Longest that a request may wait, on the host's clock.
const DEADLINE: Duration = Duration::from_secs(9);
/// Times that a client comes again.
const ATTEMPTS: usize = 4;

/// A host, as a test uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct On(pub HostKind);

/// Envoy.
pub const ENVOY: On = On(HostKind::Envoy);
/// nginx with Kong's module.
pub const KONG: On = On(HostKind::Kong);
/// nginx with APISIX's module.
pub const APISIX: On = On(HostKind::Apisix);
/// Every one of them.
pub const ALL: [On; 3] = [ENVOY, KONG, APISIX];

impl On {
    /// The name in a configuration.
    pub fn name(self) -> &'static str {
        match self.0 {
            HostKind::Kong => "kong",
            HostKind::Apisix => "apisix",
            _ => "envoy",
        }
    }

    /// What the STS is called there.
    pub fn sts(self) -> &'static str {
        if self == ENVOY { "sts" } else { "sts.test:443" }
    }

    /// What the companion is called there.
    pub fn feed(self) -> &'static str {
        if self == ENVOY {
            "feed"
        } else {
            "127.0.0.1:7700"
        }
    }

    /// Whether a callout is for the STS.
    pub fn is_sts(self, callout: &Callout) -> bool {
        callout.cluster == self.sts()
    }

    /// A configuration made for Envoy, for this host.
    pub fn adapt(self, mut configuration: Value) -> Value {
        configuration["host"] = json!(self.name());
        if self != ENVOY {
            configuration.as_object_mut().unwrap().remove("shared_data");
        }
        configuration["jwks"]["upstream"] = json!(self.sts());
        if configuration["revocation"].is_object() {
            configuration["revocation"]["upstream"] = json!(self.feed());
        }
        if configuration["gateway"].is_object() {
            configuration["gateway"]["upstream"] = json!(self.feed());
        }
        if configuration["audit"].is_object() {
            configuration["audit"]["upstream"] = json!(self.feed());
        }
        configuration
    }

    /// The least configuration, changed.
    pub fn configuration(self, changes: Value) -> String {
        self.adapt(configuration(changes)).to_string()
    }

    /// A proxy with this configuration, which calls the STS and the companion only.
    pub fn builder(self, configuration: &str) -> Builder {
        self.builder_of(Module::from_file(filter_wasm()).unwrap(), configuration)
    }

    /// The same with another module.
    pub fn builder_of(self, module: Module, configuration: &str) -> Builder {
        let proxy = match self.0 {
            HostKind::Kong => Proxy::kong(module),
            HostKind::Apisix => Proxy::apisix(module),
            _ => Proxy::envoy(module),
        };
        let proxy = proxy.clusters([self.sts(), self.feed()]);
        proxy.configuration(configuration)
    }

    /// Lets a request wait until it is decided, or for too long.
    pub fn settle(self, proxy: &mut Proxy, stream: Stream) -> Outcome {
        let mut waited = Duration::ZERO;
        proxy.advance(Duration::ZERO);
        while proxy.outcome(stream).is_paused() && waited < DEADLINE {
            let step = Duration::from_millis(10);
            proxy.advance(step);
            waited += step;
        }
        proxy.outcome(stream)
    }

    /// Sends a request as a client does that comes again after 503 with `Retry-After`.
    /// Gives every stream of it; the last one counts.
    pub fn send(self, proxy: &mut Proxy, worker: usize, request: &Request) -> Vec<Stream> {
        let mut streams = Vec::new();
        for _ in 0..ATTEMPTS {
            let stream = proxy.request(worker, request.clone());
            streams.push(stream);
            let again = match self.settle(proxy, stream) {
                Outcome::Replied(reply) if reply.status == 503 => {
                    let after = reply.headers.text("retry-after");
                    after.and_then(|after| after.parse().ok())
                }
                _ => None,
            };
            match again {
                Some(seconds) if self != ENVOY => proxy.advance(Duration::from_secs(seconds)),
                _ => break,
            }
        }
        streams
    }

    /// What comes of such a request in the end.
    pub fn ask(self, proxy: &mut Proxy, worker: usize, request: &Request) -> Outcome {
        let last = *self.send(proxy, worker, request).last().unwrap();
        proxy.outcome(last)
    }
}

/// Status and error of a request that has ended; 200 and no error if it went on.
#[track_caller]
pub fn outcome(proxy: &Proxy, stream: Stream) -> (u32, String) {
    match proxy.outcome(stream) {
        Outcome::Forwarded(_) => (200, String::new()),
        Outcome::Replied(reply) => {
            let error = reply.json()["error"].as_str().unwrap().to_owned();
            (reply.status, error)
        }
        other => panic!("{other:?}"),
    }
}
