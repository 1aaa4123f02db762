//! The body of `POST /v1/revocations`: the content of a stream message.

use serde::Deserialize;

use crate::event::{MAX_ANCHOR_BYTES, MAX_ZONE_BYTES};

/// Most anchors in one question or one revocation.
const MAX_ANCHORS: usize = 100;

/// The content of an event.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevocationBody {
    #[serde(default)]
    pub(crate) anchors: Vec<String>,
    pub(crate) zone: Option<String>,
    pub(crate) epoch: Option<u64>,
}

impl RevocationBody {
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let anchor = |a: &String| !a.is_empty() && a.len() <= MAX_ANCHOR_BYTES;
        if self.anchors.len() > MAX_ANCHORS || !self.anchors.iter().all(anchor) {
            return Some("expected at most 100 anchors, none empty");
        }
        match (&self.zone, self.epoch) {
            (None, None) if self.anchors.is_empty() => {
                Some("expected anchors, or a zone and its epoch")
            }
            (None, None) => None,
            (Some(zone), Some(epoch)) => {
                let fits = !zone.is_empty() && zone.len() <= MAX_ZONE_BYTES;
                (!fits || i64::try_from(epoch).is_err())
                    .then_some("expected a zone and an epoch of at most 2^63-1")
            }
            _ => Some("give both a zone and an epoch"),
        }
    }
}
