//! The plain values that tests pass in and get back. They have no behaviour beyond
//! reading them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::host::Headers;

/// Status numbers of the ABI, as far as Envoy returns them.
pub mod status {
    /// Done.
    pub const OK: u32 = 0;
    /// The thing asked for is not there.
    pub const NOT_FOUND: u32 = 1;
    /// An argument is wrong, or the call comes at a wrong moment.
    pub const BAD_ARGUMENT: u32 = 2;
    /// Something could not be written.
    pub const SERIALIZATION_FAILURE: u32 = 3;
    /// Something could not be read.
    pub const PARSE_FAILURE: u32 = 4;
    /// A pointer of the module points outside its memory.
    pub const INVALID_MEMORY_ACCESS: u32 = 6;
    /// A queue is empty.
    pub const EMPTY: u32 = 7;
    /// Another write came first.
    pub const CAS_MISMATCH: u32 = 8;
    /// The host failed.
    pub const INTERNAL_FAILURE: u32 = 10;
    /// The host does not offer this call.
    pub const UNIMPLEMENTED: u32 = 12;
    /// Not a status: if a fault hook returns it, the call traps.
    pub const TRAP: u32 = u32::MAX;
}

/// The proxy that the host plays. `profile/` has the differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostKind {
    /// Envoy 1.40.
    Envoy,
    /// nginx with Kong's ngx_wasm_module.
    Kong,
    /// nginx with APISIX's wasm-nginx-module 0.7.0.
    Apisix,
}

/// One of the VMs that a proxy runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vm {
    /// The temporary VM in which a configuration is tried.
    Canary,
    /// The VM on the main thread: ticks and callouts, no requests.
    Main,
    /// The VM of a worker thread.
    Worker(usize),
}

/// The consequence of a trap in a worker's VM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// The worker answers 503 from then on.
    #[default]
    Closed,
    /// The next request to the worker makes a new VM.
    Reload,
}

/// The level of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

/// One line that the module logged, or wrote to its standard output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The VM that logged it.
    pub vm: Vm,
    /// The level; `Info` and `Error` for standard output and error.
    pub level: Level,
    /// The text. What is not UTF-8 is replaced.
    pub text: String,
    /// When, on the monotonic clock, since the start.
    pub at: Duration,
}

/// Why a proxy did not start.
#[derive(Debug)]
pub struct StartError {
    /// What failed, and in which VM.
    pub message: String,
    /// Everything logged until then.
    pub logs: Vec<LogLine>,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        for line in &self.logs {
            write!(f, "\n  {:?} {:?} {}", line.vm, line.level, line.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for StartError {}

/// Names a request for as long as the proxy lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream(pub(crate) usize);

/// What the client got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status on the wire (200 for a gRPC trailers-only reply).
    pub status: u32,
    /// The headers, without pseudo headers.
    pub headers: Headers,
    /// The body so far.
    pub body: Vec<u8>,
    /// `grpc-status`, if the client speaks gRPC and the reply is local.
    pub grpc_status: Option<u32>,
    /// The response-code details, as the access log shows them.
    pub details: String,
    /// The reason phrase, if the filter's details become it.
    pub reason: String,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body in UTF-8")
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("a JSON body: {e}: {:?}", self.body.escape_ascii()))
    }
}

/// What the upstream got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// The headers, pseudo headers included.
    pub headers: Headers,
    /// The body so far.
    pub body: Vec<u8>,
    /// The trailers, if there are any.
    pub trailers: Option<Headers>,
    /// Whether the request has come to its end.
    pub complete: bool,
}

/// The state of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The filter holds it.
    Paused,
    /// The upstream has it, and has not answered yet.
    Forwarded(Forwarded),
    /// The filter replied to it.
    Replied(Reply),
    /// The upstream answered it, and the client has the response, or its beginning.
    Answered(Reply),
    /// The filter's VM trapped, now or before, and the client got this 503.
    Trapped(Reply),
    /// The filter ended it after it had been forwarded, or closed it.
    Cut {
        /// What the client had got by then.
        reply: Option<Reply>,
        /// The response-code details; empty for a plain close.
        details: String,
    },
    /// The client left.
    Cancelled,
    /// Nobody will ever answer: its VM died while it was paused, or it was answered
    /// twice.
    Hung,
}

impl Outcome {
    /// What the upstream got. Fails the test in any other case.
    #[track_caller]
    pub fn forwarded(self) -> Forwarded {
        match self {
            Self::Forwarded(forwarded) => forwarded,
            other => panic!("expected the request to be forwarded, and it is {other:?}"),
        }
    }

    /// The filter's own reply. Fails the test in any other case.
    #[track_caller]
    pub fn replied(self) -> Reply {
        match self {
            Self::Replied(reply) => reply,
            other => panic!("expected a reply of the filter, and it is {other:?}"),
        }
    }

    /// The status that the client got, if it got one.
    pub fn status(&self) -> Option<u32> {
        match self {
            Self::Replied(r) | Self::Answered(r) | Self::Trapped(r) => Some(r.status),
            Self::Cut { reply, .. } => reply.as_ref().map(|r| r.status),
            _ => None,
        }
    }

    /// Whether the filter holds the request.
    pub fn is_paused(&self) -> bool {
        matches!(self, Self::Paused)
    }

    /// Whether the upstream has the request, unanswered.
    pub fn is_forwarded(&self) -> bool {
        matches!(self, Self::Forwarded(_))
    }
}

/// A call that the filter made to the network.
#[derive(Clone, Debug)]
pub struct Callout {
    /// Its name in [`crate::host::Proxy::answer`]. Counts up over all VMs.
    pub id: usize,
    /// The cluster's name.
    pub cluster: String,
    /// `:method`.
    pub method: String,
    /// `:path`.
    pub path: String,
    /// `:authority`.
    pub authority: String,
    /// All headers, pseudo headers included.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// Envoy gives up after this time. Zero means no timeout.
    pub timeout: Duration,
    /// The VM that made it.
    pub from: Vm,
    /// The stream in whose context it was made; none for a root context.
    pub stream: Option<Stream>,
    /// When, since the start.
    pub at: Duration,
}

impl Callout {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a callout with a JSON body")
    }
}

/// What happens to a callout.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A response comes.
    Respond {
        /// `:status`.
        status: u32,
        /// Other headers.
        headers: Headers,
        /// The body.
        body: Vec<u8>,
        /// How long it takes. If that is longer than the timeout, it is a timeout.
        after: Duration,
    },
    /// This answer, whose bytes trickle in: no read takes long, and the whole may take longer
    /// than the timeout. Envoy's timeout ends it all the same.
    Trickling(Box<Answer>),
    /// The connection is refused: `:status` 503 at once.
    Refused,
    /// Nobody answers: `:status` 504 after the callout's timeout.
    TimesOut,
    /// The response is over the host's limit: no headers, no body.
    TooBig,
    /// A body that is shorter than announced. Kong gives its full size and cannot read
    /// it. For the others the callout has failed.
    CutShort {
        /// `:status`.
        status: u32,
        /// The announced number of bytes.
        promised: usize,
    },
    /// No response until [`crate::host::Proxy::answer`] gives one, and no timeout.
    Never,
    /// The dispatch itself returns this status, and no callback follows.
    DispatchFails(u32),
}

impl Answer {
    /// A status and a body, at once (at the next [`crate::host::Proxy::advance`]).
    pub fn with(status: u32, body: impl AsRef<[u8]>) -> Self {
        Self::Respond {
            status,
            headers: Headers::new(),
            body: body.as_ref().to_vec(),
            after: Duration::ZERO,
        }
    }

    /// 200 with a JSON body, at once.
    pub fn json(body: &serde_json::Value) -> Self {
        Self::with(200, body.to_string())
    }

    /// The same answer, later.
    pub fn after(mut self, later: Duration) -> Self {
        if let Self::Respond { after, .. } = &mut self {
            *after = later;
        }
        self
    }

    /// The same answer, byte by byte.
    pub fn trickling(self) -> Self {
        Self::Trickling(Box::new(self))
    }

    /// The same answer with one more header.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        if let Self::Respond { headers, .. } = &mut self {
            headers.add(name, value);
        }
        self
    }
}

/// A host call that is about to be made, for a fault hook.
#[derive(Clone, Copy, Debug)]
pub struct HostCall {
    /// The import's name.
    pub name: &'static str,
    /// The VM that calls.
    pub vm: Vm,
    /// The number of this call, among calls of that name by that VM, from 1.
    pub nth: u64,
    /// The callback in which it is made, such as `proxy_on_tick`.
    pub callback: &'static str,
}

/// What host and module passed to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handed {
    /// Bytes copied out of the module's memory and into it.
    pub bytes: u64,
    /// Pieces of memory that the module allocated for the host. Each one is a call into
    /// the VM.
    pub allocations: u64,
}

/// The cost of several callbacks.
#[derive(Clone, Debug, Default)]
pub struct Cost {
    /// Units of work, about one for each wasm instruction.
    pub fuel: u64,
    /// The host calls made, by name.
    pub host_calls: BTreeMap<&'static str, u64>,
    /// What was passed in them.
    pub handed: Handed,
}

/// One callback into a VM, and what it cost.
#[derive(Clone, Debug)]
pub struct CallbackCost {
    /// The VM.
    pub vm: Vm,
    /// The export's name.
    pub callback: &'static str,
    /// The stream, for callbacks of an HTTP context.
    pub stream: Option<Stream>,
    /// Units of work, about one for each wasm instruction.
    pub fuel: u64,
    /// The host calls made, by name.
    pub host_calls: BTreeMap<&'static str, u64>,
    /// What was passed in them.
    pub handed: Handed,
    /// When, since the start.
    pub at: Duration,
}

/// One metric, summed over all VMs as Envoy does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Only grows.
    Counter(u64),
    /// Goes up and down.
    Gauge(u64),
    /// Every value recorded.
    Histogram(Vec<u64>),
}
