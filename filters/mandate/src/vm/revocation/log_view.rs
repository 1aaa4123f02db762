//! The revocation log for one decision.

use std::cell::RefCell;

use caracal_mandate::revocation::epochs::Epochs;
use caracal_mandate::revocation::{AnchorId, Availability, RevocationView};
use caracal_mandate::zone::ZoneIndex;

use crate::vm::revocation::poller::RevocationFeed;
use crate::vm::revocation::shared_log::whole_seconds;

/// The log is read when the check for revocation asks for it. So a request that is
/// refused before that costs nothing here and does not depend on the log.
pub(crate) struct LogView<'a> {
    pub(crate) feed: &'a RefCell<RevocationFeed>,
    /// The zone whose epoch counts.
    pub(crate) zone: ZoneIndex,
    pub(crate) now_ms: u64,
}

impl RevocationView for LogView<'_> {
    fn availability(&self) -> Availability {
        match self.feed.try_borrow_mut() {
            Ok(mut feed) => feed.log.availability(self.now_ms),
            Err(_) => Availability::Unavailable("Re-entrant call at the edge"),
        }
    }

    fn is_revoked(&self, anchor: AnchorId) -> bool {
        let now_s = whole_seconds(self.now_ms);
        self.feed.try_borrow().map_or(true, |feed| {
            feed.log.replica.anchors().contains(anchor, now_s)
        })
    }

    fn delegation_epoch(&self) -> u64 {
        self.feed
            .try_borrow()
            .map_or(u64::MAX, |feed| feed.log.epochs.of(self.zone, self.now_ms))
    }
}

/// How far the log goes, and the delegation epochs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LogExtent {
    image: u64,
    len: u64,
    epochs: Epochs,
}

/// Reads what is new in the log, and says how far it goes then.
#[cold]
#[inline(never)]
pub(crate) fn extent(feed: &RefCell<RevocationFeed>, now_ms: u64) -> Option<LogExtent> {
    let mut feed = feed.try_borrow_mut().ok()?;
    feed.log.availability(now_ms);
    let log = &feed.log;
    Some(LogExtent {
        image: log.head.image,
        len: log.head.len,
        epochs: log.epochs.clone(),
    })
}
