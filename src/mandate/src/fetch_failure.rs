//! Why a fetch or a poll failed, in a form that all VMs of a proxy share. So one of them
//! logs the failure, once a minute and whenever the cause changes, and each can say why
//! it refuses requests.

/// A lasting cause is logged again after this time, by one VM for all.
const LOG_EVERY_MS: u64 = 60_000;
/// A call that the proxy does not accept is tried again after this time: right after a
/// start the proxy may not know the upstream yet.
const AGAIN_MS: u64 = 50;
/// Number of tries, in five seconds. After them the call counts as failed.
pub(crate) const MAX_AGAIN: u64 = 100;

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The proxy did not accept the call.
    Untaken,
    /// No answer came, or the answer is from the proxy itself.
    Unreached,
    /// The companion does not accept the token.
    Token,
    /// The companion says that it is not ready.
    NotReady,
    /// The answer has another status than 200.
    Status,
    /// The answer is not what was asked for.
    Unreadable,
    /// More anchors are revoked than may be held.
    Capacity,
    /// The result could not be shared with the other VMs.
    Unshared,
}

const KINDS: [(Kind, &str); 8] = [
    (Kind::Untaken, "the proxy refuses the call"),
    (Kind::Unreached, "it cannot be reached"),
    (Kind::Token, "it refuses the token"),
    (Kind::NotReady, "it says that it is not ready"),
    (Kind::Status, "it does not answer with status 200"),
    (Kind::Unreadable, "its answer is unusable"),
    (Kind::Capacity, "too many anchors are revoked"),
    (Kind::Unshared, "its answer cannot be shared"),
];

/// A failure's kind, and a digest that tells it from others of its kind. 0 means no
/// failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cause(u64);

impl Cause {
    /// The cause that is described by these words.
    pub fn new(kind: Kind, words: &str) -> Self {
        let place = KINDS.iter().position(|(known, _)| *known == kind);
        let number = u64::try_from(place.unwrap_or_default()).unwrap_or_default();
        let detail = u64::from(crc32fast::hash(words.as_bytes()));
        Cause(number.saturating_add(1) | detail.wrapping_shl(8))
    }

    /// The number for a record.
    pub fn number(self) -> u64 {
        self.0
    }

    /// What [`Cause::number`] gave.
    pub const fn from_number(number: u64) -> Self {
        Cause(number)
    }

    /// Its kind in words; none if nothing has failed.
    pub fn words(self) -> Option<&'static str> {
        let place = usize::try_from(self.0 & 0xff).ok()?.checked_sub(1)?;
        KINDS.get(place).map(|(_, words)| *words)
    }
}

/// How many causes are remembered with the time of their last line. If more than these
/// alternate within a minute, each is logged again when it returns.
const REMEMBERED: usize = 3;
/// How many numbers [`Logged`] takes in a record.
pub(crate) const LOGGED_NUMBERS: usize = 1 + 2 * REMEMBERED;

/// The last failure, and when each cause was logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Logged {
    /// The last failure, logged or not.
    pub cause: Cause,
    /// The causes that were logged, and when; 0 means never.
    told: [(Cause, u64); REMEMBERED],
}

impl Logged {
    /// Whether to log a failure. Each cause is logged once a minute, also if several
    /// alternate.
    pub fn is_news(&mut self, cause: Cause, now_ms: u64) -> bool {
        self.cause = cause;
        let was_told = self.told.iter().any(|(known, at_ms)| {
            *known == cause && *at_ms != 0 && now_ms.saturating_sub(*at_ms) < LOG_EVERY_MS
        });
        if was_told {
            return false;
        }
        let place = |(known, at_ms): &&mut (Cause, u64)| match *known == cause {
            true => 0,
            false => *at_ms,
        };
        if let Some(oldest) = self.told.iter_mut().min_by_key(place) {
            // 0 means never, and the clock may be 0 at its start.
            *oldest = (cause, now_ms.max(1));
        }
        true
    }

    /// The numbers for a record.
    pub(crate) fn numbers(&self) -> [u64; LOGGED_NUMBERS] {
        let [(a, a_ms), (b, b_ms), (c, c_ms)] = self.told;
        let cause = self.cause.number();
        [cause, a.0, a_ms, b.0, b_ms, c.0, c_ms]
    }

    /// What [`Logged::numbers`] gave.
    pub(crate) fn from_numbers(mut next: impl FnMut() -> Option<u64>) -> Option<Self> {
        let mut logged = Logged {
            cause: Cause(next()?),
            ..Logged::default()
        };
        for told in &mut logged.told {
            *told = (Cause(next()?), next()?);
        }
        Some(logged)
    }
}

/// Requests begin or stop to be refused because something is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// They are refused from now on.
    Refused,
    /// They are judged again, after this many milliseconds of refusals.
    Judged(u64),
}

/// Finds out whether refusing begins or ends. `since_ms` is when it began, 0 if requests
/// are not refused. While something is only awaited, nothing changes and neither line is
/// logged.
pub(crate) fn turn(since_ms: &mut u64, refused: bool, ready: bool, now_ms: u64) -> Option<Turn> {
    if *since_ms == 0 && refused {
        *since_ms = now_ms.max(1);
        return Some(Turn::Refused);
    }
    if *since_ms != 0 && ready {
        let lasted = now_ms.saturating_sub(*since_ms);
        *since_ms = 0;
        return Some(Turn::Judged(lasted));
    }
    None
}

/// How long to wait after failures in a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    /// The wait after the first failure. It doubles with each further one.
    pub(crate) first_ms: u64,
    /// The wait doubles at most so often.
    pub(crate) max_doublings: u64,
    /// Longest wait.
    pub(crate) longest_ms: u64,
}

/// What a shared record notes about the failures of its fetches or polls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    /// Failures since the last success.
    pub(crate) count: u64,
    /// When the next try is due.
    pub(crate) next_ms: u64,
    /// Calls in a row that the proxy did not accept.
    pub(crate) untaken: u64,
    /// When requests began to be refused for it; 0 if they are not.
    pub(crate) refusing_since_ms: u64,
    /// What was logged.
    pub(crate) logged: Logged,
}

impl Failures {
    /// Notes a failure, and when to try again. Returns whether to log it. With `jitter`,
    /// the wait is 90 to 110 %, so that proxies that failed together drift apart.
    pub(crate) fn failed(
        &mut self,
        now_ms: u64,
        backoff: Backoff,
        jitter: u64,
        cause: Cause,
    ) -> bool {
        let doublings = u32::try_from(self.count.min(backoff.max_doublings)).unwrap_or(0);
        let wait = backoff
            .first_ms
            .saturating_mul(1_u64.wrapping_shl(doublings))
            .min(backoff.longest_ms);
        let percent = 90_u64.saturating_add(jitter % 21);
        self.count = self.count.saturating_add(1);
        self.untaken = 0;
        self.next_ms = now_ms.saturating_add(wait.saturating_mul(percent) / 100);
        self.logged.is_news(cause, now_ms)
    }

    /// Notes a call that the proxy did not accept. It is soon made again, and no request
    /// is refused for it. False if it was tried often enough, or if calls are failing
    /// already.
    pub(crate) fn again(&mut self, now_ms: u64) -> bool {
        if self.count > 0 || self.untaken >= MAX_AGAIN {
            return false;
        }
        self.untaken = self.untaken.saturating_add(1);
        self.next_ms = now_ms.saturating_add(AGAIN_MS);
        true
    }

    /// Notes a success.
    pub(crate) fn succeeded(&mut self) {
        self.count = 0;
        self.untaken = 0;
    }

    /// Whether calls have failed since the last success.
    pub(crate) fn is_failing(&self) -> bool {
        self.count > 0
    }

    /// Whether refusing begins or ends with this. See [`turn`].
    pub(crate) fn turned(&mut self, refused: bool, ready: bool, now_ms: u64) -> Option<Turn> {
        turn(&mut self.refusing_since_ms, refused, ready, now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_logged_once_a_minute_and_another_at_once() {
        let token = Cause::new(Kind::Token, "a");
        let away = Cause::new(Kind::Unreached, "b");
        let mut logged = Logged::default();
        assert!(logged.is_news(away, 0));
        assert!(!logged.is_news(away, 59_000));
        assert!(logged.is_news(token, 59_001), "another cause");
        assert!(!logged.is_news(token, 119_000));
        assert!(logged.is_news(token, 119_001));
        let other = Cause::new(Kind::Token, "c");
        assert!(logged.is_news(other, 119_002), "other words");
    }

    #[test]
    fn causes_that_take_turns_are_logged_once_a_minute_each() {
        let causes = ["a", "b", "c"].map(|words| Cause::new(Kind::Status, words));
        let mut logged = Logged::default();
        let mut lines = 0;
        for now_ms in (0..180_000).step_by(100) {
            for cause in causes {
                lines += u32::from(logged.is_news(cause, now_ms));
                assert_eq!(logged.cause, cause, "the last one, told or not");
            }
        }
        assert_eq!(lines, 9);
        // A cause that was not logged in the last minute is logged, however many
        // alternate.
        let fourth = Cause::new(Kind::Token, "d");
        assert!(logged.is_news(fourth, 180_000));
        assert!(!logged.is_news(fourth, 180_001));
    }

    #[test]
    fn what_was_logged_is_the_same_in_a_record() {
        let mut logged = Logged::default();
        for words in ["a", "b", "c", "d"] {
            logged.is_news(Cause::new(Kind::Status, words), 7);
            let mut numbers = logged.numbers().into_iter();
            assert_eq!(Logged::from_numbers(|| numbers.next()), Some(logged));
            assert_eq!(numbers.next(), None);
        }
        assert_eq!(Logged::from_numbers(|| None), None);
    }

    #[test]
    fn causes_have_words_and_none_has_none() {
        for (kind, words) in KINDS {
            let cause = Cause::from_number(Cause::new(kind, "x").number());
            assert_eq!(cause.words(), Some(words));
        }
        assert_eq!(Cause::default().words(), None);
        assert_eq!(Cause::from_number(u64::MAX).words(), None);
    }

    #[test]
    fn refusing_begins_once_and_ends_once() {
        let mut since = 0;
        assert_eq!(turn(&mut since, false, false, 5), None);
        assert_eq!(turn(&mut since, true, false, 10), Some(Turn::Refused));
        assert_eq!(turn(&mut since, true, false, 20), None);
        assert_eq!(turn(&mut since, false, false, 30), None, "only awaited");
        assert_eq!(turn(&mut since, false, true, 40), Some(Turn::Judged(30)));
        assert_eq!(turn(&mut since, false, true, 50), None);
    }
}
