//! What the parts of one page share.

use std::net::IpAddr;
use std::sync::Arc;

use caracal_feed::Companion;
use caracal_feed::audit::Audit;
use caracal_feed::redis::health::Limited;
use caracal_feed::token::Token;
use caracal_mandate::config::Configuration;
use tokio::sync::Semaphore;

/// What explains a pasted request as an edge would decide it.
pub(super) struct Explainer {
    /// The name of the configuration's file.
    pub(super) file: String,
    pub(super) configuration: Configuration,
    pub(super) key_set: Option<String>,
}

/// The page of one companion.
pub(crate) struct Page {
    pub(super) companion: Companion,
    pub(super) explainer: Option<Explainer>,
    /// Names besides those of loopback by which it is reached.
    pub(super) hosts: Vec<String>,
    pub(super) explaining: Semaphore,
    pub(super) unauthorized: Limited,
    /// The last audit events, if there are any.
    pub(super) audit: Option<Arc<Audit>>,
    /// Without one, everybody who reaches it may see it; the caller allows this on loopback
    /// only.
    pub(super) token: Option<Token>,
    /// Where the companion listens.
    pub(super) listen: IpAddr,
}
