//! The differences between the proxies, as facts. Other code uses these facts and does
//! not ask which proxy it plays. To add a proxy, add a file with a constant.

mod apisix;
mod envoy;
mod kong;

use crate::host::HostKind;

/// APISIX's own variables for the host and the target of the request to the upstream. They
/// are empty, or the client's, until something sets them.
pub(crate) const UPSTREAM_HOST: &str = "upstream_host";
pub(crate) const UPSTREAM_URI: &str = "upstream_uri";

/// The facts of one proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Profile {
    pub(crate) start: Start,
    pub(crate) calls: Calls,
    pub(crate) maps: Maps,
    pub(crate) flow: Flow,
    pub(crate) callouts: Callouts,
    pub(crate) shared: Shared,
}

/// How VMs start, and what happens to them after a trap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// Each configuration is first tried in a VM that is thrown away.
    pub(crate) canary: bool,
    /// There is a VM on the main thread.
    pub(crate) main_vm: bool,
    /// A configuration starts with the first request that uses it. If it is refused, each
    /// further request tries again.
    pub(crate) lazy: bool,
    /// A VM that trapped is made again when it is next needed. Only `on_configure` runs
    /// in it, and its timers go on.
    pub(crate) revives: bool,
    /// The callbacks that never run.
    pub(crate) never: &'static [&'static str],
    /// Callbacks that kill the worker if the module does not export them.
    pub(crate) dies_without: &'static [&'static str],
    /// Callbacks that cause an error line for each request if they are not exported.
    pub(crate) logs_without: &'static [&'static str],
    /// Each request tries a refused configuration twice.
    pub(crate) tries_twice: bool,
}

/// The host functions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calls {
    /// The functions that it does not have, or has with another signature. A module that
    /// imports one does not load.
    pub(crate) absent: &'static [&'static str],
    /// The calls that it does not offer. They return `status::UNIMPLEMENTED`.
    pub(crate) unimplemented: &'static [&'static str],
    /// The calls that return OK, do nothing and write nothing.
    pub(crate) idle: &'static [&'static str],
    /// The calls that trap where others return a failure.
    pub(crate) traps: &'static [&'static str],
    /// The properties that can be set, besides declared variables; none means all.
    pub(crate) properties: Option<&'static [&'static str]>,
    /// `["ngx", name]` sets an nginx variable that is declared.
    pub(crate) variables: bool,
    /// There are attributes such as `request.path`.
    pub(crate) attributes: bool,
    /// Each root sets its tick once.
    pub(crate) tick_once: bool,
    /// The length at which a log line is cut off.
    pub(crate) log_line: usize,
}

/// How header maps behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Maps {
    /// Headers with the same name are joined. If not, the proxy answers 400 to a second
    /// `authorization`.
    pub(crate) joins: bool,
    /// The value of `:authority` that is shown instead of the client's.
    pub(crate) server_name: Option<&'static str>,
    /// `:path` is shown decoded, and sent as it came.
    pub(crate) decodes: bool,
    /// How many of the client's headers a map shows, without pseudo headers.
    pub(crate) most: usize,
    /// A map with more headers cannot be read at all. If false, it is cut off.
    pub(crate) unreadable: bool,
    /// Overwriting with an empty value removes the header.
    pub(crate) empty_removes: bool,
    /// With more entries than this, a map of the response cannot be read.
    pub(crate) most_response: usize,
    /// If a request has no host, reading its map or `:authority` kills the worker.
    pub(crate) needs_host: bool,
    /// A removed request header is hidden from the filter, but still sent.
    pub(crate) hides: bool,
    /// Overwriting changes only the first of several headers.
    pub(crate) sets_first: bool,
    /// Setting `:authority` overwrites the method, and a `?` in `:path` does not begin a
    /// query.
    pub(crate) careless: bool,
    /// Without its `content-length` a request's body is not sent, or is read as the next
    /// request of the upstream's connection.
    pub(crate) frames: bool,
    /// The filter is told that there are no request headers, and that they are the end of
    /// the request.
    pub(crate) lies: bool,
}

/// What `Pause` does without a reply or a callout in the same callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// Holds the request until somebody resumes it.
    Holds,
    /// Holds the request, and nobody can resume it.
    Forever,
    /// Kills the worker.
    Kills,
}

/// What the filter's replies do to a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) pause: Pause,
    /// The status that the client gets for a trap.
    pub(crate) trap_status: u32,
    /// The details that a trap leaves in the access log.
    pub(crate) trap_details: &'static str,
    /// A trap is an outage, or lets the request through, so it is recorded as a
    /// violation. A response goes on if the filter trapped or is dead.
    pub(crate) traps_open: bool,
    /// Bodies are shown only if a property asks for them, once and completely.
    pub(crate) body_on_demand: bool,
    /// A reply and a close also work on a response that has begun.
    pub(crate) cuts: bool,
    /// gRPC clients get gRPC replies.
    pub(crate) grpc: bool,
    /// A reply's details become its reason phrase.
    pub(crate) reason: bool,
    /// The body of a reply without one.
    pub(crate) empty_body: &'static str,
    /// The filter's response hook also runs for a request that the proxy answers by
    /// itself.
    pub(crate) hook_of_unseen: bool,
}

/// What the callback of a failed callout sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// A response with `:status` 503 or 504.
    Status,
    /// `:dispatch_status`, which is `ok` for a good response, and no `:status`.
    DispatchStatus,
    /// No headers and no body.
    Nothing,
}

/// Rules for callouts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Callouts {
    /// Most requests to one cluster at the same time.
    pub(crate) per_cluster: usize,
    /// Destinations are `host:port`.
    pub(crate) port: bool,
    /// A destination that does not exist is accepted, and then the call fails. If false,
    /// it is refused at once.
    pub(crate) takes_any: bool,
    /// The first token.
    pub(crate) first_token: u32,
    /// The context that made the callout is called, and not its root. A request that
    /// waits goes on when its callback ends without a reply.
    pub(crate) to_dispatcher: bool,
    /// The callback names the root, but its calls act on the request.
    pub(crate) names_root: bool,
    /// A trap in the callback lets the request go on. If false, the request gets a reply.
    pub(crate) trap_forwards: bool,
    /// If a client leaves while its request waits for a callout, this is noticed.
    pub(crate) notices_leavers: bool,
    /// Waiting for a callout is recorded as a violation. A callback that makes a callout
    /// and continues kills the worker, and a callout from `on_configure` traps.
    pub(crate) ticks_only: bool,
    /// A request has only one callout, and a reply in the callback that made it is lost.
    pub(crate) one: bool,
    /// The timeout is for each read, and not for the whole response.
    pub(crate) timeout_of_reads: bool,
    pub(crate) failed: Failed,
}

/// Rules of shared data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared {
    /// Keys with the same CRC32 are the same key.
    pub(crate) by_crc32: bool,
    /// An existing key is written only with its cas.
    pub(crate) cas_always: bool,
    /// How many entries fit.
    pub(crate) room: usize,
    /// A full store removes the oldest entry. If false, a write traps.
    pub(crate) evicts: bool,
}

impl Profile {
    pub(crate) fn of(kind: HostKind) -> Self {
        match kind {
            HostKind::Envoy => envoy::PROFILE,
            HostKind::Kong => kong::PROFILE,
            HostKind::Apisix => apisix::PROFILE,
        }
    }
}
