//! Asks an STS that fails no more for a while, so that mandates are not used up for
//! nothing and a sick STS gets time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row that open it.
const FAILURES: u32 = 3;
/// How long it stays open.
pub(super) const OPEN: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Inner {
    failures: u32,
    open_until: Option<Instant>,
    /// One exchange tries whether the STS is back.
    trying: bool,
}

/// Closed at first. After its time open, one exchange at a time is let through until
/// one comes off well.
#[derive(Debug, Default)]
pub(super) struct Circuit(Mutex<Inner>);

/// One exchange may be made.
#[derive(Debug)]
pub(super) struct Permit {
    circuit: Arc<Circuit>,
    tries: bool,
}

impl Circuit {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A permit, or how long to wait for one.
    pub(super) fn permit(self: &Arc<Self>, now: Instant) -> Result<Permit, Duration> {
        let mut inner = self.lock();
        let tries = match inner.open_until {
            None => false,
            Some(until) if now < until => return Err(until.saturating_duration_since(now)),
            Some(_) if inner.trying => return Err(Duration::from_secs(1)),
            Some(_) => true,
        };
        inner.trying = inner.trying || tries;
        Ok(Permit {
            circuit: Arc::clone(self),
            tries,
        })
    }

    pub(super) fn is_open(&self) -> bool {
        self.lock().open_until.is_some()
    }
}

impl Permit {
    /// The STS answered, whatever it said. Whether the circuit was open until now.
    pub(super) fn well(self) -> bool {
        let mut inner = self.circuit.lock();
        inner.failures = 0;
        inner.open_until.take().is_some()
    }

    /// The STS failed. Whether the circuit was closed until now.
    pub(super) fn failed(self, now: Instant) -> bool {
        let mut inner = self.circuit.lock();
        inner.failures = inner.failures.saturating_add(1);
        let was_open = inner.open_until.is_some();
        // What was asked before it opened says nothing new.
        if inner.failures >= FAILURES && (self.tries || !was_open) {
            inner.open_until = now.checked_add(OPEN);
        }
        !was_open && inner.open_until.is_some()
    }
}

impl Drop for Permit {
    /// Also when the caller has left: another may try then.
    fn drop(&mut self) {
        if self.tries {
            self.circuit.lock().trying = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start.checked_add(Duration::from_secs(seconds)).unwrap()
    }

    fn opened(at: Instant) -> Arc<Circuit> {
        let circuit = Arc::new(Circuit::default());
        assert!(!circuit.permit(at).unwrap().failed(at));
        assert!(!circuit.permit(at).unwrap().failed(at));
        assert!(circuit.permit(at).unwrap().failed(at));
        circuit
    }

    #[test]
    fn three_failures_in_a_row_open_it_for_ten_seconds() {
        let start = Instant::now();
        let circuit = opened(start);
        assert!(circuit.is_open());
        let wait = circuit.permit(after(start, 4)).unwrap_err();
        assert_eq!(wait, Duration::from_secs(6));
        assert!(circuit.permit(after(start, 9)).is_err());
        assert!(circuit.permit(after(start, 10)).is_ok());
    }

    #[test]
    fn a_success_between_them_resets_the_count() {
        let (circuit, now) = (Arc::new(Circuit::default()), Instant::now());
        for _ in 0..5 {
            circuit.permit(now).unwrap().failed(now);
            circuit.permit(now).unwrap().failed(now);
            assert!(!circuit.permit(now).unwrap().well());
        }
        assert!(!circuit.is_open());
    }

    #[test]
    fn one_tries_whether_the_sts_is_back() {
        let start = Instant::now();
        let circuit = opened(start);
        let later = after(start, 11);
        let tries = circuit.permit(later).unwrap();
        assert!(circuit.permit(later).is_err(), "a second one");
        assert!(!tries.failed(later));
        assert!(circuit.permit(after(start, 20)).is_err(), "open again");
        let tries = circuit.permit(after(start, 21)).unwrap();
        assert!(tries.well());
        assert!(!circuit.is_open());
        circuit.permit(later).unwrap();
    }

    #[test]
    fn one_that_leaves_lets_another_try() {
        let start = Instant::now();
        let circuit = opened(start);
        drop(circuit.permit(after(start, 11)).unwrap());
        assert!(circuit.permit(after(start, 11)).is_ok());
    }

    #[test]
    fn late_failures_do_not_keep_it_open() {
        let start = Instant::now();
        let circuit = Arc::new(Circuit::default());
        let late = circuit.permit(start).unwrap();
        for _ in 0..3 {
            circuit.permit(start).unwrap().failed(start);
        }
        assert!(!late.failed(after(start, 5)));
        assert!(circuit.permit(after(start, 10)).is_ok());
    }
}
