//! The ids in a mandate that can be revoked.

use sha2::{Digest as _, Sha256};

use super::claims::Claims;

/// An anchor (`sid`, `root_sid`, `agent_session_id` or `delegation_edge_id`) as the
/// revocation state holds it: the first 64 bits of the SHA-256 of its bytes.
///
/// Two anchors can have the same 64 bits. Then a good mandate is refused. With a million
/// revoked anchors this happens to one mandate in 2^42 (four anchors in 2^64 ids against
/// 2^20). A revoked anchor is never missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnchorId(pub(crate) u64);

impl AnchorId {
    /// The id of an anchor.
    pub fn of(anchor: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(anchor.as_bytes()).into();
        AnchorId(
            digest
                .first_chunk()
                .map_or(0, |first| u64::from_le_bytes(*first)),
        )
    }
}

/// The digests are computed once for each mandate, not for each request. A malformed
/// claim has no anchor; row 6 refuses such a mandate before revocation is checked.
pub(crate) fn anchors(claims: &Claims) -> Vec<AnchorId> {
    anchor_texts(claims).map(AnchorId::of).collect()
}

/// The anchors as text, from the claims.
pub(crate) fn anchor_texts(claims: &Claims) -> impl Iterator<Item = &str> {
    let optional = [&claims.agent_session_id, &claims.delegation_edge_id];
    let optional = optional
        .into_iter()
        .filter_map(|shape| shape.as_ref().ok().and_then(Option::as_deref));
    [claims.sid.as_str(), claims.root_sid.as_str()]
        .into_iter()
        .chain(optional)
}
