//! What is kept of a request after its header callback.

use std::cell::Cell;
use std::num::NonZeroU64;
use std::rc::Rc;

use caracal_mandate::decision::verifier::Verdict;
use caracal_mandate::exchange::question::ExchangeRequest;
use caracal_mandate::exchange::rewrite::Rewrite;
use caracal_mandate::framing::Framing;
use caracal_mandate::reply::ReplyFormat;
use caracal_mandate::routing::resources::{ResourceId, RouteMatch};
use caracal_mandate::token::fingerprint::Fingerprint;
use caracal_mandate::zone::ZoneIndex;

use crate::vm::audit::records::AuditFacts;

/// What replies and log lines need to know about a request.
#[derive(Clone)]
pub(crate) struct RequestInfo {
    pub(crate) format: ReplyFormat,
    /// How its bytes are framed while it is under way, if that matters.
    pub(crate) framing: Option<Framing>,
    /// Fingerprint of the bearer token, verified or not, for logs.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// The resource that the request is for, once it is known.
    pub(crate) resource: Option<ResourceId>,
    /// Where it stands in the configuration, once that is known.
    pub(crate) matched: Option<RouteMatch>,
    /// The zone that judges its mandate, once it is known.
    pub(crate) zone: Option<ZoneIndex>,
    /// Everything is hidden that the service must not get of a client, so in shadow it may go
    /// on.
    pub(crate) is_clean: bool,
    /// What an event about it needs, if there is an audit.
    pub(crate) audit: Option<Rc<AuditFacts>>,
    /// Gateway mode: what its exchange needs.
    pub(crate) gateway: Option<Rc<GatewayRequest>>,
    /// When it came, in nanoseconds of the monotonic clock, if that is measured.
    pub(crate) came_ns: Option<NonZeroU64>,
}

/// What Gateway mode keeps of a request. It has no debug print, because it holds the
/// mandate.
pub(crate) struct GatewayRequest {
    pub(crate) request_id: String,
    pub(crate) traceparent: String,
    /// The host that the client named.
    pub(crate) authority: Vec<u8>,
    /// The client names itself in a header, which only a mandate may do.
    pub(crate) names_client: bool,
    /// `Connection` lists a header that no hop may take for its own.
    pub(crate) lists_end_to_end: bool,
    /// What the companion is asked, once the token is known.
    pub(crate) exchange: Option<ExchangeRequest>,
    /// The identifier of the resource.
    pub(crate) resource: Option<String>,
}

impl RequestInfo {
    /// A request about which nothing is known.
    pub(crate) const UNKNOWN: RequestInfo = RequestInfo {
        format: ReplyFormat::Http,
        framing: None,
        fingerprint: None,
        resource: None,
        matched: None,
        zone: None,
        is_clean: false,
        audit: None,
        gateway: None,
        came_ns: None,
    };
}

/// The progress of a request. The HTTP context shares it with the code that decides
/// later: a request that was refused or still waits must not go on because a body
/// arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamPhase {
    New,
    /// Its message of MCP is being read.
    Reading,
    Paused,
    Continued,
    /// It was let go on, and its authority has ended: its client is being told.
    Parting,
    Replied,
}

/// Whether a request is decided at once.
pub(crate) enum Authorization {
    Decided(Verdict),
    Paused,
}

/// A request that waited and is decided now.
pub(crate) struct ResolvedRequest {
    pub(crate) stream: u32,
    pub(crate) request: RequestInfo,
    pub(crate) phase: Rc<Cell<StreamPhase>>,
    pub(crate) verdict: Verdict,
    /// Gateway mode: what the exchange makes of an admitted request.
    pub(crate) rewrite: Option<Rewrite>,
}
