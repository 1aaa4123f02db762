//! What the checks of a mandate look at.

use super::context::{Context, TokenPolicy};
use super::stop::Stop;
use crate::reply::{Reason, Refusal};
use crate::revocation::AnchorId;
use crate::routing::routes::Requirements;
use crate::token::claims::{Claims, InvalidClaim};
use crate::zone::Zone;

/// What the checks look at.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) policy: &'a TokenPolicy,
    /// The zone whose key set verified the mandate.
    pub(crate) zone: &'a Zone,
    /// Gateway mode: how long the mandate must still be valid, in seconds.
    pub(crate) least_s: Option<u64>,
    pub(crate) claims: &'a Claims,
    pub(crate) anchors: &'a [AnchorId],
    /// What is to be forwarded and cannot be.
    pub(crate) unsendable: Option<&'static str>,
    pub(crate) audience: &'a str,
    /// The resource's identifier.
    pub(crate) resource: &'a str,
    pub(crate) required: &'a Requirements,
    pub(crate) with: Context<'a>,
}

/// The refusal of a claim that is not of its shape.
pub(super) fn malformed(why: &InvalidClaim) -> Stop {
    Refusal::invalid_token(Reason::Malformed, why).into()
}
