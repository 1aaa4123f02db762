//! What a filter must not do. The code that plays the consequence also records the
//! violation.

use std::time::Duration;

use crate::host::{Stream, Vm};

/// Something that a filter must not do. The host then did what the real proxy would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A second local reply for a stream: the client hangs.
    SecondReply,
    /// A stream that was denied was resumed: the upstream gets the request.
    ResumedAfterReply,
    /// A reply for a stream that was resumed in the same callback.
    ReplyAfterResume,
    /// A stream was resumed that was not waiting.
    ResumedRunning,
    /// A callback sent a reply for its stream and returned `Continue`.
    ContinueAfterReply,
    /// A header map was read or changed at a time when there is none.
    MapOutOfPhase,
    /// Headers were changed after a reply for the stream.
    ChangedAfterReply,
    /// A reply, resumption or close that acted on no stream at all.
    NoStream,
    /// `proxy_close_stream` with a type that Envoy accepts and ignores.
    CloseIgnored,
    /// A property was set under a name that access logs cannot read.
    UnreadableProperty,
    /// A header whose name or value holds a line end or a NUL, or has no name.
    BrokenHeader,

    /// A trap, in a proxy that answers it with an outage or lets the request through
    /// (Kong, APISIX).
    Trapped,
    /// A message went on because the filter trapped or was dead.
    TrapForwards,
    /// A callback is not exported that the host calls without checking (Kong: the worker
    /// dies).
    ExportMissing,
    /// A host call failed where the host traps instead of returning a status.
    CallTraps,
    /// A callout from `on_configure` (Kong: traps).
    CalloutFromConfigure,
    /// A request that waits for a callout (Kong: it fails open).
    CalloutFromRequest,
    /// A second callout of a request while one is under way (APISIX has one).
    SecondCallout,
    /// A callback called out and returned `Continue` (Kong: the worker dies).
    ContinueAfterCallout,
    /// `Pause` with neither a callout nor a reply in the same callback (APISIX: the
    /// worker dies).
    PauseKills,
    /// `Pause`, although nothing can ever resume the request (Kong).
    PauseForever,
    /// The upstream got a request that was held, and that nobody resumed.
    ForwardedUndecided,
    /// A reply in the callback that made a callout (APISIX: it is lost).
    ReplyLost,
    /// A reply after the response has begun, which is ignored (Kong, APISIX).
    ReplyIgnored,
    /// A reply in a location that answers in another way (Kong: `return`, `rewrite`,
    /// `try_files`).
    ReplyBypassed,
    /// A tick period was set a second time (Kong: traps).
    TickSetAgain,
    /// After a trap, a timer was set beside the one that is still running (Kong).
    TimersMultiply,
    /// A removed request header is still sent to the upstream (Kong).
    RemovedStillSent,
    /// Of two headers with the same name, only one was overwritten (Kong).
    DuplicateStillSent,
    /// The length of a request's body was removed (Kong, APISIX: the body is lost, or becomes
    /// a request of its own).
    FramingRemoved,
    /// A map that was read has more entries than it shows (APISIX: 100 of the client's).
    MapCut,
    /// The map, or `:authority`, of a request without a host was read (APISIX: the
    /// worker dies).
    MapKills,
    /// A map that cannot be read, which panics in the SDK: more than 20 response headers,
    /// or those of a failed callout (APISIX).
    MapPanics,
    /// `:authority` was set, which overwrites the method (APISIX).
    MethodOverwritten,
    /// `:path` was set with a query, which is not separated (APISIX).
    QueryKept,
    /// Two keys of shared data have the same CRC32, so they are the same key (Kong).
    SharedCollision,
    /// A write to shared data removed another key (Kong).
    SharedEvicted,
    /// A read of shared data returned parts of two values (Kong).
    SharedTorn,
}

/// One violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What it was.
    pub wrong: Wrong,
    /// The VM.
    pub vm: Vm,
    /// The stream concerned.
    pub stream: Option<Stream>,
    /// The callback and the host call.
    pub during: String,
    /// When, since the start.
    pub at: Duration,
}
