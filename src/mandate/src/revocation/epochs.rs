//! The delegation epochs of the zones of a configuration. They stand in the shared record
//! beside its head ([`super::log_head`]). Times are milliseconds of one monotonic clock.

use super::page::Page;
use crate::zone::ZoneIndex;

/// Bytes of one zone's epoch in the record.
const EPOCH_BYTES: usize = 16;

/// The epoch of one zone, until it is forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct ZoneEpoch {
    epoch: u64,
    until_ms: u64,
}

impl ZoneEpoch {
    fn at(self, now_ms: u64) -> u64 {
        if now_ms < self.until_ms {
            self.epoch
        } else {
            0
        }
    }

    /// The epoch only rises until it expires.
    fn raise(&mut self, epoch: u64, ttl_s: u32, now_ms: u64) {
        if epoch < self.at(now_ms) {
            return;
        }
        let until_ms = now_ms.saturating_add(u64::from(ttl_s).saturating_mul(1_000));
        // A higher epoch must not expire sooner than the lower one would have. Otherwise
        // the epoch would be forgotten while the lower one should still refuse.
        self.until_ms = self.until_ms.max(until_ms);
        self.epoch = epoch;
    }
}

/// The epochs of all zones of a configuration, by their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epochs(Vec<ZoneEpoch>);

impl Epochs {
    /// None is known of these zones.
    pub fn none(zones: usize) -> Self {
        Epochs(vec![ZoneEpoch::default(); zones])
    }

    /// A zone's delegation epoch; 0 if none is known.
    pub fn of(&self, zone: ZoneIndex, now_ms: u64) -> u64 {
        self.0.get(zone.place()).map_or(0, |known| known.at(now_ms))
    }

    /// Takes the epochs of a page.
    pub fn raise(&mut self, page: &Page, now_ms: u64) {
        for (zone, epoch, ttl_s) in &page.epochs {
            if let Some(known) = self.0.get_mut(zone.place()) {
                known.raise(*epoch, *ttl_s, now_ms);
            }
        }
    }

    /// Keeps what is known and higher. A record that is older or was lost must not lower an
    /// epoch that has not expired.
    pub fn keep(&mut self, known: &Epochs, now_ms: u64) {
        for (this, known) in self.0.iter_mut().zip(&known.0) {
            if known.at(now_ms) > this.at(now_ms) {
                *this = *known;
            }
        }
    }

    /// The epochs as bytes, before what follows in a record.
    pub(super) fn encode(&self, rest: &[u8]) -> Vec<u8> {
        let size = self.0.len().saturating_mul(EPOCH_BYTES);
        let mut bytes = Vec::with_capacity(size.saturating_add(rest.len()));
        for zone in &self.0 {
            bytes.extend_from_slice(&zone.epoch.to_le_bytes());
            bytes.extend_from_slice(&zone.until_ms.to_le_bytes());
        }
        bytes.extend_from_slice(rest);
        bytes
    }

    /// Reads the epochs of so many zones, and returns what follows them.
    pub(super) fn decode(mut bytes: &[u8], zones: usize) -> Option<(Self, &[u8])> {
        let mut epochs = Vec::with_capacity(zones);
        for _ in 0..zones {
            let (epoch, rest) = bytes.split_first_chunk::<8>()?;
            let (until_ms, rest) = rest.split_first_chunk::<8>()?;
            epochs.push(ZoneEpoch {
                epoch: u64::from_le_bytes(*epoch),
                until_ms: u64::from_le_bytes(*until_ms),
            });
            bytes = rest;
        }
        Some((Epochs(epochs), bytes))
    }
}

#[cfg(test)]
mod tests;
