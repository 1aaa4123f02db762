//! What a filter must not do, and the notes of it.
//!
//! What may live here: the list of wrongs. Who notices them is whoever plays
//! the consequence.

use std::time::Duration;

use crate::host::{Stream, Vm};

/// Something a filter must not do. The host did what the proxy it plays would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A second local reply for a stream: the client hangs.
    SecondReply,
    /// A stream that was denied was resumed: the upstream gets the request.
    ResumedAfterReply,
    /// A reply for a stream that was resumed in the same callback.
    ReplyAfterResume,
    /// A stream was resumed that did not wait.
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

    /// A trap, where the proxy answers one with an outage or an open door (Kong,
    /// APISIX).
    Trapped,
    /// A message went on because the filter trapped or was dead.
    TrapForwards,
    /// A callback that the host calls without looking is not exported (Kong: the worker
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
    /// `Pause` where nothing can ever resume the request (Kong).
    PauseForever,
    /// The upstream got a request that was held, and that nobody resumed.
    ForwardedUndecided,
    /// A reply in the callback of a callout's dispatch (APISIX: it is lost).
    ReplyLost,
    /// A reply once the answer has begun, which is ignored (Kong, APISIX).
    ReplyIgnored,
    /// A reply where the location answers otherwise (Kong: `return`, `rewrite`, `try_files`).
    ReplyBypassed,
    /// A tick period was set a second time (Kong: traps).
    TickSetAgain,
    /// After a trap a timer was set beside the one that goes on (Kong).
    TimersMultiply,
    /// A request header was removed, and is sent to the upstream (Kong).
    RemovedStillSent,
    /// A header that is there twice was overwritten once (Kong).
    DuplicateStillSent,
    /// A map that was read had more entries than it shows (APISIX: 100 of the client's).
    MapCut,
    /// The map, or `:authority`, of a request without a host was read (APISIX: the
    /// worker dies).
    MapKills,
    /// A map that can't be read panics in the SDK: more than 20 response headers, or
    /// those of a failed callout (APISIX).
    MapPanics,
    /// `:authority` was set, which overwrites the method (APISIX).
    MethodOverwritten,
    /// `:path` was set with a query, which is not split off (APISIX).
    QueryKept,
    /// A key of shared data is another's: their CRC32 is the same (Kong).
    SharedCollision,
    /// A write to shared data threw out another key (Kong).
    SharedEvicted,
    /// A read of shared data gave parts of two values (Kong).
    SharedTorn,
}

/// One such thing.
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
