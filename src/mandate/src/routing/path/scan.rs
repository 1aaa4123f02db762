//! Finds in one pass what readers may read differently in a path.

use super::budget::{InvalidPath, Work};

/// The unusual things in a path: a set of the constants below.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Traits(u16);

impl Traits {
    pub(super) const PERCENT: Traits = Traits(1);
    pub(super) const BACKSLASH: Traits = Traits(1 << 1);
    pub(super) const SEMICOLON: Traits = Traits(1 << 2);
    /// A `?`, a `#` or a NUL.
    pub(super) const DELIMITER: Traits = Traits(1 << 3);
    /// A space or a control character.
    pub(super) const BLANK: Traits = Traits(1 << 4);
    /// A byte that is not ASCII.
    pub(super) const HIGH: Traits = Traits(1 << 5);
    /// The first byte of a character that some readers turn into ASCII.
    pub(super) const WIDE: Traits = Traits(1 << 6);
    pub(super) const SLASHES: Traits = Traits(1 << 7);
    /// A dot at the beginning or the end of a segment.
    pub(super) const DOTS: Traits = Traits(1 << 8);

    /// Any of these means that there is something to fold.
    pub(super) const FOLDABLE: Traits =
        Traits(Traits::PERCENT.0 | Traits::BLANK.0 | Traits::HIGH.0);

    /// Whether any of the traits in `one` is there.
    pub(super) fn has(self, one: Traits) -> bool {
        self.0 & one.0 != 0
    }

    /// Whether no step changes the path.
    pub(super) fn are_plain(self) -> bool {
        self.0 & !Traits::HIGH.0 == 0
    }

    fn add(&mut self, one: Traits, marked: u64) {
        if marked != 0 {
            self.0 |= one.0;
        }
    }

    /// The traits of eight bytes; `before` is the byte before them.
    fn add_all(&mut self, word: u64, before: u8) {
        let is = |byte| zeros(word ^ eight(byte));
        self.add(Traits::PERCENT, is(b'%'));
        self.add(Traits::BACKSLASH, is(b'\\'));
        self.add(Traits::SEMICOLON, is(b';'));
        self.add(Traits::DELIMITER, is(b'?') | is(b'#') | zeros(word));
        let blank = word.wrapping_sub(eight(b' ' + 1)) & !word;
        self.add(Traits::BLANK, blank & HIGHEST);
        self.add(Traits::HIGH, word & HIGHEST);
        // 0xc4 and 0xc5 differ in the last bit.
        let latin = zeros((word | eight(1)) ^ eight(0xc5));
        self.add(Traits::WIDE, is(0xe2) | is(0xef) | is(0xcd) | latin);
        let previous = word << 8 | u64::from(before);
        let slash = (exactly(word, b'/'), exactly(previous, b'/'));
        let dot = (exactly(word, b'.'), exactly(previous, b'.'));
        self.add(Traits::SLASHES, slash.0 & slash.1);
        self.add(Traits::DOTS, slash.0 & dot.1 | dot.0 & slash.1);
    }
}

/// The result of a scan.
pub(super) struct Scan {
    pub(super) traits: Traits,
    /// Number of bytes before the query, or of all bytes.
    pub(super) len: usize,
    /// Number of bytes before the first eight that have something to fold, if the scan
    /// ends there.
    pub(super) plain: usize,
}

/// The work in wasm instructions: for each byte; for eight bytes with encodings, or with
/// characters beyond ASCII; and for eight bytes with anything else, and the last bytes of
/// a path.
const BYTE: usize = 7;
const ENCODED: usize = 60;
const TEXT: usize = 110;
const LOOKING: usize = 300;

/// Eight times the same byte.
pub(super) const fn eight(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

pub(super) const HIGHEST: u64 = eight(0x80);

/// Marks bytes that are 0, in their highest bit. A byte that is 1 may be marked too, if
/// it comes after a 0.
pub(super) fn zeros(word: u64) -> u64 {
    word.wrapping_sub(eight(1)) & !word & HIGHEST
}

/// Marks bytes that are `byte`, and no others.
fn exactly(word: u64, byte: u8) -> u64 {
    let word = word ^ eight(byte);
    !((word & !HIGHEST).wrapping_add(!HIGHEST) | word) & HIGHEST
}

/// How far a path is scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// To its end.
    Whole,
    /// A request target, up to the `?`.
    ToQuery,
    /// The same, but only up to the first thing that can be folded.
    ToFold,
}

/// Scans a path, eight bytes at a time: most of them have nothing unusual, and every
/// request pays for this.
pub(super) fn scan(path: &[u8], how: Look, work: &mut Work) -> Result<Scan, InvalidPath> {
    let query = how != Look::Whole;
    work.of_bytes(path.len(), BYTE)?;
    let mut found = Scan {
        traits: Traits::default(),
        len: path.len(),
        plain: 0,
    };
    let (words, tail) = path.as_chunks::<8>();
    let mut joint = 0;
    let mut rest = words.iter();
    while let Some(chunk) = rest.next() {
        let word = u64::from_le_bytes(*chunk);
        let low = word & !HIGHEST;
        // Marked are bytes beyond ASCII, bytes below `-`, `:` to `?`, and `\`. Bytes
        // after a marked one may be marked wrongly.
        let special = word
            | word.wrapping_sub(eight(b'-'))
            | (low.wrapping_add(eight(0x80 - b':')) ^ low.wrapping_add(eight(0x80 - b'@')))
            | (word ^ eight(b'\\')).wrapping_sub(eight(1));
        // Dots and slashes differ only in the last bit. Two of them in a row matter.
        let joints = ((word | eight(0x81)) ^ eight(b'/' | 0x80)).wrapping_sub(eight(1));
        let marked = (special | joints & (joints << 8 | joint)) & HIGHEST;
        joint = joints >> 56;
        if marked == 0 {
            continue;
        }
        work.take(if word & HIGHEST == 0 { ENCODED } else { TEXT })?;
        let is_first = !found.traits.has(Traits::FOLDABLE);
        if found.is_text(word, marked) {
            if how == Look::ToFold {
                let left = rest.len().saturating_mul(8).saturating_add(tail.len());
                work.put_back(left, BYTE);
                let read = path.len().saturating_sub(left);
                // Traits that were found before must be checked again.
                if is_first {
                    found.plain = read.saturating_sub(8);
                }
                return Ok(found);
            }
            continue;
        }
        work.take(LOOKING)?;
        let behind = rest.len().saturating_mul(8).saturating_add(tail.len());
        let end = path.len().saturating_sub(behind);
        if found.look(path, word, end, 8, query) {
            return Ok(found);
        }
    }
    work.take(LOOKING.saturating_add(TEXT))?;
    let mut last = [b'a'; 8];
    for (place, byte) in last.iter_mut().zip(tail) {
        *place = *byte;
    }
    let word = u64::from_le_bytes(last);
    found.look(path, word, path.len(), tail.len(), query);
    Ok(found)
}

impl Scan {
    /// Whether eight bytes with a mark have only encodings, and characters that nobody
    /// reads differently. Most unusual paths have nothing else.
    fn is_text(&mut self, word: u64, marked: u64) -> bool {
        let percent = zeros(word ^ eight(b'%'));
        let high = word & HIGHEST;
        let is = |byte| zeros(word ^ eight(byte));
        let latin = || zeros((word | eight(1)) ^ eight(0xc5));
        let is_wide = || is(0xe2) | is(0xef) | is(0xcd) | latin() != 0;
        if marked & !(percent | high) != 0 || high != 0 && is_wide() {
            return false;
        }
        self.traits.add(Traits::PERCENT, percent);
        self.traits.add(Traits::HIGH, high);
        true
    }

    /// Examines `count` bytes, filled up to eight, that end at `end`. Returns whether the
    /// query begins in them.
    fn look(&mut self, path: &[u8], word: u64, end: usize, count: usize, query: bool) -> bool {
        let start = end.saturating_sub(count);
        let mark = zeros(word ^ eight(b'?'));
        let has_query = query && mark != 0;
        let word = match has_query {
            // The first marked byte is really one.
            true => {
                let bits = mark.trailing_zeros().saturating_sub(7);
                self.len = start.saturating_add(usize::try_from(bits >> 3).unwrap_or(0));
                let kept = !(u64::MAX << bits);
                word & kept | eight(b'a') & !kept
            }
            false => word,
        };
        let byte = |at: usize| path.get(at).copied().unwrap_or(b'a');
        self.traits.add_all(word, byte(start.wrapping_sub(1)));
        if (has_query || end == path.len()) && byte(self.len.wrapping_sub(1)) == b'.' {
            self.traits.add(Traits::DOTS, 1);
        }
        has_query
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(path: &[u8], query: bool) -> Scan {
        let how = if query { Look::ToQuery } else { Look::Whole };
        super::scan(path, how, &mut Work(usize::MAX)).unwrap()
    }

    /// The same scan, byte by byte.
    fn slowly(path: &[u8]) -> Traits {
        let mut traits = Traits::default();
        for (at, byte) in path.iter().enumerate() {
            let before = at.checked_sub(1).map_or(b'a', |at| path[at]);
            traits.0 |= match (before, byte) {
                (_, b'%') => Traits::PERCENT.0,
                (_, b'\\') => Traits::BACKSLASH.0,
                (_, b';') => Traits::SEMICOLON.0,
                (_, b'?' | b'#') => Traits::DELIMITER.0,
                (_, 0) => Traits::DELIMITER.0 | Traits::BLANK.0,
                (_, 1..=b' ') => Traits::BLANK.0,
                (_, 0xc4 | 0xc5 | 0xcd | 0xe2 | 0xef) => Traits::HIGH.0 | Traits::WIDE.0,
                (_, 0x80..) => Traits::HIGH.0,
                (b'/', b'/') => Traits::SLASHES.0,
                (b'.', b'/') | (b'/', b'.') => Traits::DOTS.0,
                _ => 0,
            };
        }
        traits.add(Traits::DOTS, u64::from(path.last() == Some(&b'.')));
        traits
    }

    #[test]
    fn nothing_is_missed_wherever_it_stands() {
        for (first, second) in (0..=255).flat_map(|a| (0..=255).map(move |b| (a, b))) {
            for at in [5, 6] {
                let mut path = vec![b'/'];
                path.extend(std::iter::repeat_n(b'a', at));
                path.extend([first, second]);
                assert_eq!(scan(&path, false).traits, slowly(&path));
                path.extend(b"zzzzzzzz");
                let found = scan(&path, false);
                assert_eq!(found.traits, slowly(&path), "{}", path.escape_ascii());
                assert_eq!(found.len, path.len());
            }
        }
    }

    #[test]
    fn nothing_is_missed_among_other_things() {
        let bytes: Vec<u8> = (0..=255).collect();
        let parts = b"%/.\\;?# -_\x80\xaf\xe3\xefa9".to_vec();
        // Any generator will do.
        let mut random = 7_u32;
        let mut next = |end: usize| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            usize::try_from(random >> 8).unwrap() % end
        };
        for _ in 0..20_000 {
            let len = next(40);
            let path: Vec<u8> = (0..len)
                .map(|_| match next(4) {
                    0 => bytes[next(256)],
                    _ => parts[next(parts.len())],
                })
                .collect();
            assert_eq!(
                scan(&path, false).traits,
                slowly(&path),
                "{}",
                path.escape_ascii()
            );
        }
    }

    #[test]
    fn a_plain_path_is_plain_and_ends_at_the_query() {
        for (target, len) in [
            ("/v1/pay-outs/a_b.c/~x@y!", 24),
            ("/abcdefg?", 8),
            ("/abcdefgh?//", 9),
            ("/abcdef?;%;?", 7),
            ("/?/", 1),
            ("/abcdefghijklmno?abcdefghijk", 16),
        ] {
            let found = scan(target.as_bytes(), true);
            assert!(found.traits.are_plain(), "{target}");
            assert_eq!(found.len, len, "{target}");
        }
        assert!(scan(b"/abcdef.?x", true).traits.has(Traits::DOTS));
        assert!(scan(b"/abcdefg.?x", true).traits.has(Traits::DOTS));
    }

    #[test]
    fn a_path_with_too_much_in_it_is_left() {
        let path = ";aaaaaaa".repeat(10);
        let mut work = Work(10 * LOOKING);
        let given_up = super::scan(path.as_bytes(), Look::Whole, &mut work).err();
        assert_eq!(given_up, Some(InvalidPath::Work));
    }
}
