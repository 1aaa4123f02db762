//! Metrics: one value for each name, over all VMs, and Envoy's rules for kinds and ids.

use std::collections::BTreeMap;

use crate::host::{Metric, status};

/// The metrics of the process.
#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) by_name: BTreeMap<String, Metric>,
}

/// The ids that one VM was given. The kind is in the two lowest bits.
#[derive(Default)]
pub(crate) struct MetricIds(Vec<(u32, String)>);

impl MetricIds {
    fn name(&self, id: u32) -> Option<&str> {
        self.0
            .iter()
            .find(|(i, _)| *i == id)
            .map(|(_, n)| n.as_str())
    }
}

impl Metrics {
    /// Defines a metric. The same name again is the same value under a new id.
    pub(crate) fn define(
        &mut self,
        ids: &mut MetricIds,
        kind: u32,
        name: &str,
    ) -> Result<u32, u32> {
        let fresh = match kind {
            0 => Metric::Counter(0),
            1 => Metric::Gauge(0),
            2 => Metric::Histogram(Vec::new()),
            _ => return Err(status::BAD_ARGUMENT),
        };
        self.by_name.entry(name.to_owned()).or_insert(fresh);
        let id = (ids.0.len() as u32 + 1) << 2 | kind;
        ids.0.push((id, name.to_owned()));
        Ok(id)
    }

    fn named(&mut self, ids: &MetricIds, id: u32) -> Result<&mut Metric, u32> {
        let name = ids.name(id).ok_or(status::NOT_FOUND)?;
        self.by_name.get_mut(name).ok_or(status::NOT_FOUND)
    }

    /// A counter accepts only values above 0.
    pub(crate) fn increment(&mut self, ids: &MetricIds, id: u32, by: i64) -> Result<(), u32> {
        if id & 3 > 1 {
            return Err(status::BAD_ARGUMENT);
        }
        match self.named(ids, id)? {
            Metric::Counter(value) if by > 0 => *value = value.wrapping_add(by as u64),
            Metric::Gauge(value) => *value = value.wrapping_add_signed(by),
            _ => return Err(status::BAD_ARGUMENT),
        }
        Ok(())
    }

    /// Sets a gauge, adds to a counter, notes in a histogram.
    pub(crate) fn record(&mut self, ids: &MetricIds, id: u32, what: u64) -> Result<(), u32> {
        match self.named(ids, id)? {
            Metric::Counter(value) => *value = value.wrapping_add(what),
            Metric::Gauge(value) => *value = what,
            Metric::Histogram(values) => values.push(what),
        }
        Ok(())
    }

    pub(crate) fn get(&mut self, ids: &MetricIds, id: u32) -> Result<u64, u32> {
        if id & 3 > 1 {
            return Err(status::BAD_ARGUMENT);
        }
        match self.named(ids, id)? {
            Metric::Counter(value) | Metric::Gauge(value) => Ok(*value),
            Metric::Histogram(_) => Err(status::BAD_ARGUMENT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_vms_count_together() {
        let mut metrics = Metrics::default();
        let (mut a, mut b) = (MetricIds::default(), MetricIds::default());
        let in_a = metrics.define(&mut a, 0, "denied").unwrap();
        let in_b = metrics.define(&mut b, 0, "denied").unwrap();
        metrics.increment(&a, in_a, 2).unwrap();
        metrics.increment(&b, in_b, 3).unwrap();
        assert_eq!(metrics.get(&a, in_a), Ok(5));
    }

    #[test]
    fn kinds_have_their_rules() {
        let mut metrics = Metrics::default();
        let mut ids = MetricIds::default();
        let counter = metrics.define(&mut ids, 0, "c").unwrap();
        let gauge = metrics.define(&mut ids, 1, "g").unwrap();
        let histogram = metrics.define(&mut ids, 2, "h").unwrap();
        assert_eq!(metrics.define(&mut ids, 3, "x"), Err(status::BAD_ARGUMENT));
        assert_eq!(
            metrics.increment(&ids, counter, 0),
            Err(status::BAD_ARGUMENT)
        );
        metrics.record(&ids, gauge, 7).unwrap();
        metrics.increment(&ids, gauge, -3).unwrap();
        assert_eq!(metrics.get(&ids, gauge), Ok(4));
        metrics.record(&ids, histogram, 9).unwrap();
        assert_eq!(metrics.get(&ids, histogram), Err(status::BAD_ARGUMENT));
        assert_eq!(metrics.get(&ids, 400), Err(status::NOT_FOUND));
    }
}
