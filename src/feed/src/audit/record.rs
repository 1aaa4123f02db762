//! How an event lies on disk: a header with a checksum, then its bytes and its signature.
//!
//! A record begins with bytes that no event has, because an event is UTF-8: so a record that
//! somebody puts into the text of an event is not found behind a damaged place.

use super::product::{MAX_DATA, Made};

/// Two bytes that UTF-8 does not have, a name, and the form's number.
const MAGIC: [u8; 4] = [0xff, 0xfe, b'a', 1];
/// Magic, checksum, length of the event, length of the signature, id, time.
const HEADER: usize = 40;
/// Length of a signature, if there is one.
const SIG: usize = 64;
/// Largest record, in bytes.
pub(super) const MAX_RECORD: usize = HEADER + MAX_DATA + SIG;

/// A record, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) id: u128,
    /// When it was taken, in Unix microseconds.
    pub(super) taken_us: u64,
    pub(super) data: &'a [u8],
    pub(super) sig: &'a [u8],
}

/// What is at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A record, and its length.
    Record(Record<'a>, usize),
    /// So many bytes that are no record.
    Damage(usize),
    /// A record that goes on after the last byte, or nothing at all.
    More,
}

/// How many bytes an event takes.
pub(super) fn size(made: &Made) -> u64 {
    let size = HEADER
        .saturating_add(made.data.len())
        .saturating_add(made.sig.len());
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// Appends a record.
pub(super) fn write(made: &Made, taken_us: u64, to: &mut Vec<u8>) {
    let length = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
    let parts: [&[u8]; 6] = [
        &length(&made.data),
        &length(&made.sig),
        &made.id.to_le_bytes(),
        &taken_us.to_le_bytes(),
        made.data.as_bytes(),
        made.sig.as_bytes(),
    ];
    let mut sum = crc32fast::Hasher::new();
    parts.iter().for_each(|part| sum.update(part));
    to.extend_from_slice(&MAGIC);
    to.extend_from_slice(&sum.finalize().to_le_bytes());
    parts.iter().for_each(|part| to.extend_from_slice(part));
}

/// Looks at the beginning of some bytes. `all` says that no more will follow.
pub(super) fn read(bytes: &[u8], all: bool) -> Found<'_> {
    match whole(bytes) {
        Ok((record, length)) => Found::Record(record, length),
        Err(Why::Short) if !all || bytes.is_empty() => Found::More,
        Err(_) => Found::Damage(to_next(bytes, all)),
    }
}

enum Why {
    Short,
    Wrong,
}

fn whole(bytes: &[u8]) -> Result<(Record<'_>, usize), Why> {
    let known = bytes.len().min(MAGIC.len());
    if bytes.get(..known) != MAGIC.get(..known) {
        return Err(Why::Wrong);
    }
    let (header, rest) = bytes.split_at_checked(HEADER).ok_or(Why::Short)?;
    let (sum, covered) = (number(header, 4), header.get(8..).unwrap_or_default());
    let (data, sig) = (number(header, 8), number(header, 12));
    if data > MAX_DATA || (sig != 0 && sig != SIG) {
        return Err(Why::Wrong);
    }
    let length = data.saturating_add(sig);
    let body = rest.get(..length).ok_or(Why::Short)?;
    let mut is = crc32fast::Hasher::new();
    is.update(covered);
    is.update(body);
    if usize::try_from(is.finalize()) != Ok(sum) {
        return Err(Why::Wrong);
    }
    let (data, sig) = body.split_at_checked(data).ok_or(Why::Wrong)?;
    let record = Record {
        id: field(header, 16).map_or(0, u128::from_le_bytes),
        taken_us: field(header, 32).map_or(0, u64::from_le_bytes),
        data,
        sig,
    };
    Ok((record, HEADER.saturating_add(length)))
}

fn field<const N: usize>(header: &[u8], at: usize) -> Option<[u8; N]> {
    header.get(at..)?.first_chunk().copied()
}

fn number(header: &[u8], at: usize) -> usize {
    let number = field(header, at).map_or(u32::MAX, u32::from_le_bytes);
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// How far it is to the next place where a record may begin.
fn to_next(bytes: &[u8], all: bool) -> usize {
    let behind = bytes.get(1..).unwrap_or_default();
    let next = behind
        .windows(MAGIC.len())
        .position(|window| window == MAGIC);
    match next {
        Some(next) => next.saturating_add(1),
        None if all => bytes.len(),
        // It may begin in the last bytes.
        None => bytes
            .len()
            .saturating_sub(MAGIC.len().saturating_sub(1))
            .max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(text: &str) -> Made {
        Made {
            id: 0x0198_0000_0000_7000_8000_0000_0000_0001,
            request_id: "r".into(),
            denied: false,
            data: text.into(),
            sig: "ab".repeat(32).into(),
        }
    }

    fn bytes(of: &Made) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(of, 7, &mut bytes);
        bytes
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for made in [
            made("{}"),
            Made {
                sig: "".into(),
                ..made("é")
            },
            made(&"x".repeat(MAX_DATA)),
        ] {
            let bytes = bytes(&made);
            assert_eq!(bytes.len() as u64, size(&made));
            assert!(bytes.len() <= MAX_RECORD);
            let expected = Record {
                id: made.id,
                taken_us: 7,
                data: made.data.as_bytes(),
                sig: made.sig.as_bytes(),
            };
            assert_eq!(read(&bytes, true), Found::Record(expected, bytes.len()));
        }
    }

    #[test]
    fn a_part_of_a_record_is_none() {
        let bytes = bytes(&made("{}"));
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end], false), Found::More, "{end}");
            let all = read(&bytes[..end], true);
            assert_eq!(
                all,
                if end == 0 {
                    Found::More
                } else {
                    Found::Damage(end)
                }
            );
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed_and_the_next_record_is_found() {
        let (one, two) = (bytes(&made("{\"a\":1}")), bytes(&made("{}")));
        for bit in 0..one.len() * 8 {
            let mut all = [one.clone(), two.clone()].concat();
            all[bit / 8] ^= 1 << (bit % 8);
            let mut at = 0;
            while let Found::Damage(length) = read(&all[at..], true) {
                at += length;
            }
            assert_eq!(at, one.len(), "bit {bit}");
            assert!(
                matches!(read(&all[at..], true), Found::Record(record, _) if record.data == b"{}")
            );
        }
    }

    /// What looks like a record within an event is not one, because an event is UTF-8.
    #[test]
    fn a_record_within_an_event_is_not_found() {
        let inner = String::from_utf8_lossy(&bytes(&made("{\"forged\":1}"))).into_owned();
        let mut outer = bytes(&made(&inner));
        outer[5] ^= 1;
        assert_eq!(read(&outer, true), Found::Damage(outer.len()));
    }

    #[test]
    fn a_length_that_is_not_believed_does_not_hide_what_follows() {
        let mut all = bytes(&made("{}"));
        let length = all.len();
        all[8..12].copy_from_slice(&60_000_u32.to_le_bytes());
        all.extend(bytes(&made("{}")));
        assert_eq!(read(&all, false), Found::More);
        assert_eq!(read(&all, true), Found::Damage(length));
    }
}
