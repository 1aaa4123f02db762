//! Times in the forms for people and for machines.

use anyhow::{Context as _, Result, ensure};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Unix time in whole seconds, from digits or RFC 3339.
pub(crate) fn parse(text: &str) -> Result<u64> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let what = || format!("{text:?} is not a time: expected Unix seconds or RFC 3339");
    let time = OffsetDateTime::parse(text, &Rfc3339).with_context(what)?;
    u64::try_from(time.unix_timestamp()).with_context(what)
}

/// The current time in whole seconds, rounded down.
pub(crate) fn now() -> Result<u64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = since.context("the clock is before 1970")?.as_secs();
    ensure!(now > 0, "there is no clock");
    Ok(now)
}

/// RFC 3339 in UTC; empty if there is no such date.
pub(crate) fn date(seconds: u64) -> String {
    let date = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let date = date.and_then(|date| date.format(&Rfc3339).ok());
    date.unwrap_or_default()
}

/// A length of time.
pub(crate) fn length(seconds: u64) -> String {
    let parts = |unit: u64, name: &str, below: u64, small: &str| {
        let (whole, rest) = (
            seconds.checked_div(unit).unwrap_or(0),
            seconds.checked_rem(unit).unwrap_or(0),
        );
        let rest = rest.checked_div(below).unwrap_or(0);
        format!("{seconds} s ({whole} {name} {rest} {small})")
    };
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => parts(60, "min", 1, "s"),
        7_200..=172_799 => parts(3_600, "h", 60, "min"),
        _ => parts(86_400, "days", 3_600, "h"),
    }
}

/// A time, its date, and its distance from another time.
pub(crate) fn beside(seconds: u64, now: u64) -> String {
    let far = match (seconds.checked_sub(now), now.checked_sub(seconds)) {
        (Some(0), _) => "now".to_owned(),
        (Some(ahead), _) => format!("in {}", length(ahead)),
        (_, Some(ago)) => format!("{} ago", length(ago)),
        (None, None) => String::new(),
    };
    match date(seconds) {
        date if date.is_empty() => format!("{seconds}, {far}"),
        date => format!("{seconds} = {date}, {far}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for text in [
            "1767225600",
            "2026-01-01T00:00:00Z",
            "2026-01-01T01:00:00+01:00",
        ] {
            assert_eq!(parse(text).unwrap(), 1_767_225_600, "{text}");
        }
        for text in [
            "",
            "soon",
            "-1",
            "1.5",
            "2026-01-01",
            "1969-01-01T00:00:00Z",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(
            beside(1_767_225_600, 1_767_225_590),
            "1767225600 = 2026-01-01T00:00:00Z, in 10 s"
        );
        assert_eq!(
            beside(0, 4_000),
            "0 = 1970-01-01T00:00:00Z, 4000 s (66 min 40 s) ago"
        );
        assert_eq!(beside(u64::MAX, u64::MAX), format!("{}, now", u64::MAX));
        assert_eq!(length(200_000), "200000 s (2 days 7 h)");
    }
}
