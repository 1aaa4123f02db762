//! The slots of a cluster: the slot of a key, and the master of a slot.

use std::collections::BTreeSet;

use redis::Value;

use super::connection::Named;
use super::reply::{items, number, text};

/// Number of slots in every cluster.
const SLOTS: u16 = 16_384;

/// The slot of a key. If the key has a part in braces, only that part counts.
pub fn slot_of(key: &str) -> u16 {
    let key = key.as_bytes();
    let part = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = key.get(open.saturating_add(1)..)?;
        let close = rest.iter().position(|byte| *byte == b'}')?;
        rest.get(..close).filter(|part| !part.is_empty())
    });
    let sum = crc16::State::<crc16::XMODEM>::calculate(part.unwrap_or(key));
    sum.checked_rem(SLOTS).unwrap_or(0)
}

/// Slots in a row, and their master.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    first: u16,
    last: u16,
    /// The master's address.
    pub master: Named,
    /// The master's name in the cluster.
    pub id: String,
}

/// The masters of all slots, as one node reports them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slots(Vec<Range>);

impl Slots {
    /// Reads `CLUSTER SLOTS`. A node that does not know its own address leaves it empty;
    /// it is the node that was asked. `None` for anything with another shape.
    pub fn read(answer: Value, asked: &str) -> Option<Self> {
        let ranges = items(answer).into_iter().map(|range| {
            // First slot, last slot, master, replicas.
            let mut parts = items(range).into_iter();
            let mut slot = || u16::try_from(number(&parts.next()?)?).ok();
            let (first, last) = (slot()?, slot()?);
            let mut master = items(parts.next()?).into_iter();
            let host = text(master.next()?).filter(|host| !host.is_empty() && host != "?");
            let port = u16::try_from(number(&master.next()?)?).ok()?;
            let host = host.unwrap_or_else(|| asked.to_owned());
            Some(Range {
                first,
                last,
                master: Named { host, port },
                id: text(master.next()?)?,
            })
        });
        let mut ranges: Vec<Range> = ranges.collect::<Option<_>>()?;
        ranges.sort();
        Some(Slots(ranges))
    }

    /// The master of a slot.
    pub fn master_of(&self, slot: u16) -> Option<&Named> {
        let range = self
            .0
            .iter()
            .find(|range| (range.first..=range.last).contains(&slot));
        range.map(|range| &range.master)
    }

    /// Every master that has slots, once each.
    pub fn masters(&self) -> BTreeSet<&Named> {
        self.0.iter().map(|range| &range.master).collect()
    }

    /// The masters' names in the cluster.
    pub fn ids(&self) -> BTreeSet<&str> {
        self.0.iter().map(|range| range.id.as_str()).collect()
    }

    /// Whether every slot has a master.
    pub fn is_whole(&self) -> bool {
        let mut next = 0_u16;
        for range in &self.0 {
            if range.first != next || range.last < range.first {
                return false;
            }
            next = range.last.saturating_add(1);
        }
        next == SLOTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // The results of CLUSTER KEYSLOT in Redis 7.
        for (key, slot) in [
            ("123456789", 12_739),
            ("foo", 12_182),
            ("{foo}bar", 12_182),
            ("a{foo}{bar}", 12_182),
            ("{}foo", 9_500),
            ("foo{", 7_673),
            ("", 0),
        ] {
            assert_eq!(slot_of(key), slot, "{key}");
        }
    }

    fn range(first: i64, last: i64, port: i64) -> Value {
        let master = vec![
            Value::BulkString(b"h".to_vec()),
            Value::Int(port),
            Value::BulkString(format!("id{port}").into_bytes()),
        ];
        Value::Array(vec![
            Value::Int(first),
            Value::Int(last),
            Value::Array(master),
        ])
    }

    #[test]
    fn a_hole_is_seen() {
        let read = |ranges| Slots::read(Value::Array(ranges), "h").unwrap();
        let whole = read(vec![range(8_000, 16_383, 2), range(0, 7_999, 1)]);
        assert!(whole.is_whole());
        assert_eq!(whole.master_of(8_000).unwrap().port, 2);
        assert_eq!(whole.masters().len(), 2);
        assert!(!read(vec![range(0, 7_998, 1), range(8_000, 16_383, 2)]).is_whole());
        assert!(!read(vec![range(0, 16_382, 1)]).is_whole());
        assert!(!read(Vec::new()).is_whole());
    }
}
