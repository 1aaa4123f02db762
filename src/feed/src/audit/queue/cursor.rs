//! How far the queue was delivered.

use std::io;

use super::folder::Folder;

const NAME: &str = "cursor";
/// Largest file, in bytes.
const MAX_FILE: u64 = 100;

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Position {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

impl Position {
    fn text(self) -> String {
        format!("{} {}", self.segment, self.offset)
    }
}

/// The noted place. Without one that can be believed, everything is delivered again, which
/// the product's consumer takes for what it is.
pub(super) fn read(folder: &Folder) -> io::Result<Position> {
    let Some(bytes) = folder.read(NAME, MAX_FILE)? else {
        return Ok(Position::default());
    };
    let noted = parse(&bytes);
    if noted.is_none() {
        tracing::warn!(
            "the note of which audit events were delivered is damaged: what is on disk is sent again"
        );
    }
    Ok(noted.unwrap_or_default())
}

fn parse(bytes: &[u8]) -> Option<Position> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut words = text.split_whitespace();
    let position = Position {
        segment: words.next()?.parse().ok()?,
        offset: words.next()?.parse().ok()?,
    };
    let sum = crc32fast::hash(position.text().as_bytes());
    (words.next()? == format!("{sum:08x}")).then_some(position)
}

pub(super) fn write(folder: &Folder, position: Position) -> io::Result<()> {
    let text = position.text();
    let sum = crc32fast::hash(text.as_bytes());
    folder.replace(NAME, format!("{text} {sum:08x}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_note_is_none() {
        let text = Position {
            segment: 3,
            offset: 70,
        }
        .text();
        let sum = crc32fast::hash(text.as_bytes());
        let good = format!("{text} {sum:08x}\n");
        assert_eq!(
            parse(good.as_bytes()),
            Some(Position {
                segment: 3,
                offset: 70
            })
        );
        for bad in ["", "3 70", "3 71 00000000", "x", &good.replace('3', "4")] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
