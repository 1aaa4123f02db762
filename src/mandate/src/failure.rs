//! Why a fetch or a poll came to nothing, as far as all VMs of a proxy have to know:
//! so that one of them logs it, once a minute and whenever it is another cause, and
//! each can say why requests are refused.

/// A cause that goes on is logged again after this time, by all VMs together.
pub const LOG_EVERY_MS: u64 = 60_000;
/// A call that the proxy does not take is made again after this time: at a start it
/// may not know the upstream yet.
pub const AGAIN_MS: u64 = 50;
/// So many times, five seconds in all; then it counts as a failure.
pub const MAX_AGAIN: u64 = 100;

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The proxy did not take the call.
    Untaken,
    /// No answer came, or the proxy made one up itself.
    Unreached,
    /// The companion does not take the token.
    Token,
    /// The companion says that it is not ready.
    NotReady,
    /// The answer has another status than 200.
    Status,
    /// The answer is not what was asked for.
    Unreadable,
    /// More is revoked than may be held.
    Capacity,
    /// What came could not be shared with the other VMs.
    Unshared,
}

const KINDS: [(Kind, &str); 8] = [
    (Kind::Untaken, "the proxy does not take the call"),
    (Kind::Unreached, "it cannot be reached"),
    (Kind::Token, "it does not take the token"),
    (Kind::NotReady, "it says that it is not ready"),
    (Kind::Status, "it does not answer with status 200"),
    (Kind::Unreadable, "its answer is of no use"),
    (Kind::Capacity, "more is revoked than may be held"),
    (Kind::Unshared, "its answer cannot be shared"),
];

/// A failure's kind, and what tells it from others of its kind. 0 is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cause(u64);

impl Cause {
    /// The cause that is told in these words.
    pub fn new(kind: Kind, words: &str) -> Self {
        let place = KINDS.iter().position(|(known, _)| *known == kind);
        let number = u64::try_from(place.unwrap_or_default()).unwrap_or_default();
        let detail = u64::from(crc32fast::hash(words.as_bytes()));
        Cause(number.saturating_add(1) | detail.wrapping_shl(8))
    }

    /// As it stands in a record.
    pub fn number(self) -> u64 {
        self.0
    }

    /// What [`Cause::number`] gave.
    pub const fn from_number(number: u64) -> Self {
        Cause(number)
    }

    /// Its kind in words; none when nothing has failed.
    pub fn words(self) -> Option<&'static str> {
        let place = usize::try_from(self.0 & 0xff).ok()?.checked_sub(1)?;
        KINDS.get(place).map(|(_, words)| *words)
    }
}

/// The failure that was logged last, and when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Logged {
    /// What it was.
    pub cause: Cause,
    /// When; 0 is never.
    pub at_ms: u64,
}

impl Logged {
    /// Whether to log a failure: another one than the last always.
    pub fn is_news(&mut self, cause: Cause, now_ms: u64) -> bool {
        let news = self.at_ms == 0
            || self.cause != cause
            || now_ms.saturating_sub(self.at_ms) >= LOG_EVERY_MS;
        if news {
            self.cause = cause;
            // 0 means never; the clock may stand at 0 when it starts.
            self.at_ms = now_ms.max(1);
        }
        news
    }
}

/// Requests begin or cease to be refused for want of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// They are refused from now on.
    Refused,
    /// They are judged again, after so many milliseconds.
    Judged(u64),
}

/// What turns, if anything: `since_ms` is when refusing began, 0 when nobody is refused.
/// What is neither ready nor refused, because it is awaited, turns nothing.
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
