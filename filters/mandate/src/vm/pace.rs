//! How often ticks come. They are fast while something waits, is due or has just happened.
//! Otherwise they are slow, because an idle proxy must not spend its time on ticks. What
//! makes a tick urgent sets the period at once, and the proxy counts it from then on.

use std::time::Duration;

use crate::abi::hostcalls::{self, Status};

/// Time between two ticks. The first tick fetches. A later tick finds within this time
/// what another VM has fetched. Each tick reads shared data.
const FAST: Duration = Duration::from_millis(10);
/// The same while there is nothing to do. A key set that another VM has fetched is then
/// noticed within this time.
const SLOW_MS: u64 = 100;
/// Ticks stay fast for so long after something happened. So traffic does not change the
/// period with each request.
const LINGER_MS: u64 = 1_000;

/// What ticks are needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Something waits or is under way.
    Busy,
    /// The next tick has something to do, and that is all.
    Due,
    Nothing,
}

/// The ticks of one configuration in one VM.
pub(crate) struct Pace {
    /// The proxy takes another period later.
    can_change: bool,
    is_slow: bool,
    /// A request has made ticks fast since the last one.
    was_hurried: bool,
    busy_until_ms: u64,
}

impl Pace {
    /// Ticks are fast from now on. `is_set` means that the proxy already ticks, for an earlier
    /// configuration.
    ///
    /// # Errors The proxy's status.
    #[cold]
    pub(crate) fn start(can_change: bool, is_set: bool) -> Result<Self, Status> {
        if can_change || !is_set {
            hostcalls::set_tick_period(FAST)?;
        }
        Ok(Pace {
            can_change,
            ..Pace::without_ticks()
        })
    }

    /// For a proxy that has no ticks.
    #[cold]
    pub(crate) fn without_ticks() -> Self {
        Pace {
            can_change: false,
            is_slow: false,
            was_hurried: false,
            busy_until_ms: 0,
        }
    }

    pub(crate) fn can_change(&self) -> bool {
        self.can_change
    }

    /// A request needs a tick soon.
    #[inline]
    pub(crate) fn hurry(&mut self) {
        if self.is_slow {
            self.was_hurried = true;
            self.quicken();
        }
    }

    /// If the proxy refuses, the next tick is a slow one, which tries again.
    #[cold]
    #[inline(never)]
    fn quicken(&mut self) {
        self.is_slow = hostcalls::set_tick_period(FAST).is_err();
    }

    /// When the next tick comes at the latest, if ticks are slow. What is due before that
    /// needs a fast one.
    pub(crate) fn next_slow_ms(now_ms: u64) -> u64 {
        now_ms.saturating_add(SLOW_MS)
    }

    /// A tick is done, or the answer of a callout. Only where the period can change.
    pub(crate) fn settle(&mut self, need: Need, now_ms: u64) {
        if std::mem::take(&mut self.was_hurried) || need == Need::Busy {
            self.busy_until_ms = now_ms.saturating_add(LINGER_MS);
        }
        if need == Need::Nothing && now_ms >= self.busy_until_ms {
            if !self.is_slow {
                self.is_slow = hostcalls::set_tick_period(Duration::from_millis(SLOW_MS)).is_ok();
            }
        } else if self.is_slow {
            self.quicken();
        }
    }
}
