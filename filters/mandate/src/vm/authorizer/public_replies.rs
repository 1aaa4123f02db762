//! What is answered without a mandate (public documents, readiness), and what a challenge
//! says.

use caracal_mandate::metadata::Document;
use caracal_mandate::readiness::Lacking;
use caracal_mandate::reply::Challenge;
use caracal_mandate::request::RequestView;
use caracal_mandate::revocation::{Availability, RevocationView as _};
use caracal_mandate::routing::resources::{InShadow, RouteMatch};
use caracal_mandate::zone::ZoneIndex;

use super::{Authorizer, log_view};
use crate::vm::shadow::ShadowNotice;

impl Authorizer {
    /// See [`Verifier::document`].
    pub(crate) fn document(&self, request: &RequestView<'_>) -> Option<&Document> {
        self.verifier.document(request)
    }

    /// See [`Verifier::asks_readiness`].
    pub(crate) fn asks_readiness(&self, request: &RequestView<'_>) -> bool {
        self.verifier.asks_readiness(request)
    }

    /// What decisions lack now. Without a clock nothing can be used.
    #[cold]
    pub(crate) fn lacking(&self, now_ms: Option<u64>) -> Lacking {
        let zones = self.key_sets.count();
        let in_shadow = self.verifier.in_shadow() != InShadow::Nothing;
        let Some(now_ms) = now_ms else {
            return Lacking {
                zones,
                without_key_set: zones,
                revocations: true,
                in_shadow,
            };
        };
        let log = log_view(self.feed.as_ref(), Some(ZoneIndex::FIRST), now_ms);
        let revocations = log.is_some_and(|log| log.availability() != Availability::Ready);
        Lacking {
            zones,
            without_key_set: zones.saturating_sub(self.key_sets.usable(now_ms)),
            revocations,
            in_shadow,
        }
    }

    /// See [`Verifier::is_in_shadow`].
    pub(crate) fn is_in_shadow(&self, matched: Option<RouteMatch>) -> bool {
        self.verifier.is_in_shadow(matched)
    }

    /// See [`ShadowNotice`].
    pub(crate) fn shadow_notice(&self) -> Option<ShadowNotice> {
        ShadowNotice::of(&self.verifier, &self.metrics)
    }

    /// See [`Verifier::challenge`].
    pub(crate) fn challenge(&self, matched: Option<RouteMatch>) -> Option<(&Challenge, &[String])> {
        self.verifier.challenge(matched)
    }
}
