//! What is kept of a request when its header callback has returned.

use std::cell::Cell;
use std::rc::Rc;

use caracal_mandate::decision::verifier::Verdict;
use caracal_mandate::reply::ReplyFormat;
use caracal_mandate::routing::resources::ResourceId;
use caracal_mandate::token::fingerprint::Fingerprint;

/// What a reply and a log line need to know of a request.
#[derive(Debug, Clone)]
pub(crate) struct RequestInfo {
    pub(crate) format: ReplyFormat,
    /// Of the bearer token, verified or not; for logs.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// The resource that it is for, once that is known.
    pub(crate) resource: Option<ResourceId>,
}

impl RequestInfo {
    /// A request of which nothing is known.
    pub(crate) const UNKNOWN: RequestInfo = RequestInfo {
        format: ReplyFormat::Http,
        fingerprint: None,
        resource: None,
    };
}

/// How far a request has come. The HTTP context shares it with whoever decides later: a
/// request that was refused or still waits must not go on because a body arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamPhase {
    New,
    Paused,
    Continued,
    Replied,
}

/// Whether a request is decided at once.
pub(crate) enum Authorization {
    Decided(Verdict),
    Paused,
}

/// A request that waited and is decided.
pub(crate) struct ResolvedRequest {
    pub(crate) stream: u32,
    pub(crate) request: RequestInfo,
    pub(crate) phase: Rc<Cell<StreamPhase>>,
    pub(crate) verdict: Verdict,
}
