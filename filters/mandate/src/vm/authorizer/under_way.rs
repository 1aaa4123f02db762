//! Judges admitted requests that are still under way.

use caracal_mandate::Mandate;
use caracal_mandate::decision::authority::{Authority, authority};
use caracal_mandate::revocation::{Disabled, RevocationView};
use caracal_mandate::routing::resources::RouteMatch;

use crate::vm::authorizer::{Authorizer, log_view, usable_keys};
use crate::vm::revocation::log_view::{LogExtent, extent};

/// Two of these are the same if nothing has changed that could end a request's authority.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AuthorityStamp {
    log: Option<LogExtent>,
    /// How many key sets this VM has taken.
    key_sets: u64,
}

impl Authorizer {
    /// What is known now of the authority of an admitted request.
    #[cold]
    #[inline(never)]
    pub(crate) fn authority(
        &mut self,
        mandate: &Mandate,
        matched: RouteMatch,
        ends_when_expired: bool,
        now_ms: u64,
    ) -> Authority {
        let Some(now) = self.unix_time_s(now_ms) else {
            return Authority::Unknown;
        };
        let zone = self.verifier.zone_again(mandate, matched);
        let log = log_view(self.feed.as_ref(), zone, now_ms);
        let view = log
            .as_ref()
            .map_or(&Disabled as &dyn RevocationView, |log| log);
        let keys = usable_keys(&self.key_sets, zone, now_ms);
        authority(mandate, keys, view, now, ends_when_expired)
    }

    /// What decides whether an admitted request is still authorized, but for the time.
    pub(crate) fn authority_stamp(&self, now_ms: u64) -> AuthorityStamp {
        AuthorityStamp {
            log: self.feed.as_ref().and_then(|feed| extent(feed, now_ms)),
            key_sets: self.key_sets.installed(),
        }
    }
}
