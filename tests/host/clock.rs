//! The two clocks, and the timers of a VM: the time, and when a root ticks next.
//! `events.rs` runs what is due.

use std::collections::BTreeMap;
use std::time::Duration;

/// The monotonic clock at the start. It is not zero, as on a real machine.
const MONOTONIC_AT_START: Duration = Duration::from_secs(4_000);

/// The clocks of the process.
pub(crate) struct Clock {
    /// Since the start.
    pub(crate) now: Duration,
    /// Since the epoch.
    pub(crate) wall: Duration,
    /// What the monotonic clock showed at the start.
    pub(crate) started: Duration,
}

impl Clock {
    pub(crate) fn new(wall: Duration) -> Self {
        Self {
            now: Duration::ZERO,
            wall,
            started: MONOTONIC_AT_START,
        }
    }

    /// Sets both clocks to a time since the start.
    pub(crate) fn move_to(&mut self, now: Duration) {
        self.wall += now.saturating_sub(self.now);
        self.now = self.now.max(now);
    }

    pub(crate) fn monotonic_nanos(&self) -> u64 {
        (self.started + self.now).as_nanos() as u64
    }

    pub(crate) fn wall_nanos(&self) -> u64 {
        self.wall.as_nanos() as u64
    }
}

/// The timers of one VM, by root context.
#[derive(Default)]
pub(crate) struct Ticks(BTreeMap<u32, Tick>);

#[derive(Clone, Copy)]
struct Tick {
    period: Duration,
    next: Duration,
    /// How many timers run with this period.
    timers: u32,
    whose: Timer,
}

/// The VM that set a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// This one.
    Own,
    /// The one before it, which trapped.
    Inherited,
}

impl Ticks {
    /// A new period counts from now. Zero stops the timer.
    pub(crate) fn set(&mut self, root: u32, period: Duration, now: Duration) {
        if period.is_zero() {
            self.0.remove(&root);
        } else {
            let next = now + period;
            let tick = Tick {
                period,
                next,
                timers: 1,
                whose: Timer::Own,
            };
            self.0.insert(root, tick);
        }
    }

    /// Adds a timer beside those that an earlier VM left.
    pub(crate) fn add(&mut self, root: u32, period: Duration, now: Duration) {
        let before = self.timers(root);
        self.set(root, period, now);
        if let Some(tick) = self.0.get_mut(&root) {
            tick.timers = tick.timers.saturating_add(before);
        }
    }

    /// The timers that a VM finds which replaces this one.
    pub(crate) fn inherited(&self) -> Self {
        let mut all = self.0.clone();
        for tick in all.values_mut() {
            tick.whose = Timer::Inherited;
        }
        Self(all)
    }

    pub(crate) fn timer(&self, root: u32) -> Option<Timer> {
        self.0.get(&root).map(|tick| tick.whose)
    }

    pub(crate) fn timers(&self, root: u32) -> u32 {
        self.0.get(&root).map_or(0, |tick| tick.timers)
    }

    /// The next timer that is due: its time and its root.
    pub(crate) fn next(&self) -> Option<(Duration, u32)> {
        self.0.iter().map(|(root, tick)| (tick.next, *root)).min()
    }

    /// Called after a tick: the timer starts again with its current period.
    pub(crate) fn again(&mut self, root: u32, now: Duration) {
        if let Some(tick) = self.0.get_mut(&root) {
            tick.next = now + tick.period;
        }
    }

    pub(crate) fn period(&self, root: u32) -> Duration {
        self.0.get(&root).map_or(Duration::ZERO, |t| t.period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn both_clocks_move_together_and_only_forward() {
        let mut clock = Clock::new(Duration::from_secs(100));
        let before = clock.monotonic_nanos();
        clock.move_to(5 * MS);
        clock.move_to(2 * MS);
        assert_eq!(clock.now, 5 * MS);
        assert_eq!(clock.wall, Duration::from_secs(100) + 5 * MS);
        assert_eq!(clock.monotonic_nanos() - before, 5_000_000);
    }

    #[test]
    fn a_period_counts_from_when_it_was_set() {
        let mut ticks = Ticks::default();
        ticks.set(1, 10 * MS, Duration::ZERO);
        ticks.set(2, 4 * MS, 5 * MS);
        assert_eq!(ticks.next(), Some((9 * MS, 2)));
        ticks.set(2, 50 * MS, 9 * MS);
        ticks.again(2, 9 * MS);
        assert_eq!(ticks.next(), Some((10 * MS, 1)));
        ticks.set(1, Duration::ZERO, 9 * MS);
        assert_eq!(ticks.next(), Some((59 * MS, 2)));
        assert_eq!(ticks.period(1), Duration::ZERO);
    }
}
