//! What tells one proxy from another.
//!
//! What may live here: the facts that the code asks for instead of asking
//! which proxy it plays. A new proxy is a new constant in a file beside.

mod apisix;
mod envoy;
mod kong;

use crate::host::HostKind;

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

/// How VMs come up, and what becomes of them after a trap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// Tries each configuration in a VM that is thrown away.
    pub(crate) canary: bool,
    /// Runs a VM on the main thread.
    pub(crate) main_vm: bool,
    /// A configuration starts with the first request that uses it, and is tried
    /// again with each one that follows.
    pub(crate) lazy: bool,
    /// A VM that trapped is made anew with the next thing it is to do, and only
    /// `on_configure` runs in it; its timers go on.
    pub(crate) revives: bool,
    /// The callbacks that never run.
    pub(crate) never: &'static [&'static str],
    /// The callbacks that the worker dies of when the module does not export them.
    pub(crate) dies_without: &'static [&'static str],
    /// The callbacks that are an error line for each request when they are not exported.
    pub(crate) logs_without: &'static [&'static str],
    /// A configuration that is refused is tried twice by each request.
    pub(crate) tries_twice: bool,
}

/// What the host functions are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calls {
    /// The functions it does not have, or has in another shape: a module that
    /// imports one does not load.
    pub(crate) absent: &'static [&'static str],
    /// The calls it does not offer: they return `status::UNIMPLEMENTED`.
    pub(crate) unimplemented: &'static [&'static str],
    /// The calls that return OK, do nothing and write nothing.
    pub(crate) idle: &'static [&'static str],
    /// The calls that trap where others return that they failed.
    pub(crate) traps: &'static [&'static str],
    /// The properties that can be set, beside declared variables; none is all.
    pub(crate) properties: Option<&'static [&'static str]>,
    /// `["ngx", name]` sets an nginx variable that is declared.
    pub(crate) variables: bool,
    /// There are attributes such as `request.path`.
    pub(crate) attributes: bool,
    /// Each root sets its tick once.
    pub(crate) tick_once: bool,
    /// The bytes at which a log line is cut.
    pub(crate) log_line: usize,
}

/// How header maps behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Maps {
    /// Headers of one name are joined; if not, the proxy answers 400 to a second
    /// `authorization`.
    pub(crate) joins: bool,
    /// What `:authority` shows in place of the client's.
    pub(crate) server_name: Option<&'static str>,
    /// `:path` is shown decoded, and sent as it came.
    pub(crate) decodes: bool,
    /// The headers of the client that a whole map shows, pseudo headers aside.
    pub(crate) most: usize,
    /// A map with more can't be read at all; if not, it is cut.
    pub(crate) unreadable: bool,
    /// Overwriting with an empty value removes the header.
    pub(crate) empty_removes: bool,
    /// The entries above which a whole map of the response can't be read.
    pub(crate) most_response: usize,
    /// The worker dies when the map or `:authority` of a request without a host is read.
    pub(crate) needs_host: bool,
    /// A request header that is removed is hidden, and sent.
    pub(crate) hides: bool,
    /// Overwriting changes the first of several.
    pub(crate) sets_first: bool,
    /// Setting `:authority` overwrites the method, and a `?` in `:path` is no query.
    pub(crate) careless: bool,
    /// Request headers are told as none, and as the end.
    pub(crate) lies: bool,
}

/// What `Pause` without a reply or a callout in the same callback does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// Holds until someone resumes.
    Holds,
    /// Holds, and nobody can resume.
    Forever,
    /// The worker dies.
    Kills,
}

/// What the filter's answers do to a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) pause: Pause,
    /// The status that the client gets for a trap.
    pub(crate) trap_status: u32,
    /// The details that a trap leaves in the access log.
    pub(crate) trap_details: &'static str,
    /// A trap is an outage or an open door, and so written down as a violation; an
    /// answer goes on when the filter trapped or is dead.
    pub(crate) traps_open: bool,
    /// Bodies are shown only when a property asks for them, once and whole.
    pub(crate) body_on_demand: bool,
    /// A reply and a close work on an answer that has begun.
    pub(crate) cuts: bool,
    /// gRPC clients are answered in their own way.
    pub(crate) grpc: bool,
    /// A reply's details are its reason phrase.
    pub(crate) reason: bool,
    /// What a reply without a body becomes.
    pub(crate) empty_body: &'static str,
    /// A request that the proxy answers by itself runs the filter's response hook.
    pub(crate) hook_of_unseen: bool,
}

/// How a callout that failed looks to its callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// An answer with the `:status` 503 or 504.
    Status,
    /// `:dispatch_status`, which is `ok` for those that went well, and no `:status`.
    DispatchStatus,
    /// No headers and no body.
    Nothing,
}

/// Rules for callouts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Callouts {
    /// Requests on the way to one cluster at the same time.
    pub(crate) per_cluster: usize,
    /// Destinations are `host:port`.
    pub(crate) port: bool,
    /// A destination that does not exist is taken, and then the call fails; if not, it
    /// is refused at once.
    pub(crate) takes_any: bool,
    /// The first token.
    pub(crate) first_token: u32,
    /// The context that called out is told, not its root; and a request that waits goes
    /// on when its callback ends without a word.
    pub(crate) to_dispatcher: bool,
    /// It is told under the root's name; the calls act on the request.
    pub(crate) names_root: bool,
    /// A trap in the callback lets the request go on; if not, it is answered.
    pub(crate) trap_forwards: bool,
    /// A client that leaves is noticed while its request waits for a callout.
    pub(crate) notices_leavers: bool,
    /// A request that waits for a callout is written down, a callback that calls out
    /// and continues kills the worker, and one from `on_configure` traps.
    pub(crate) ticks_only: bool,
    /// A request has one, and a reply in the callback that made it is lost.
    pub(crate) one: bool,
    pub(crate) failed: Failed,
}

/// Rules of shared data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared {
    /// Keys are told apart by their CRC32.
    pub(crate) by_crc32: bool,
    /// A key that is there is written only with its cas.
    pub(crate) cas_always: bool,
    /// The entries it has room for.
    pub(crate) room: usize,
    /// What is full throws out the oldest entry; if not, a write traps.
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
