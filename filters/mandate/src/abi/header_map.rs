//! The ABI's form of a header map: the number of entries, the lengths of every name and
//! value, and then the texts, each followed by a NUL. Numbers have 32 bits and are
//! little-endian.

/// A header map as the host wrote it. It is read in place: a string for each header would
/// cost more than everything else that is done for a request.
#[derive(Default)]
pub(crate) struct HeaderMap {
    bytes: Vec<u8>,
    count: usize,
}

impl HeaderMap {
    /// Takes a map that the host wrote. `None` if it is malformed.
    pub(crate) fn new(bytes: Vec<u8>) -> Option<Self> {
        if bytes.is_empty() {
            return Some(HeaderMap { bytes, count: 0 });
        }
        let (count, _) = read_u32(&bytes)?;
        let map = HeaderMap { bytes, count };
        // Check all lengths once, so that later reads cannot fail half way.
        (map.pairs().count() == count).then_some(map)
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Names and values in their original order. They are bytes, and need not be UTF-8.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pairs()
    }

    fn pairs(&self) -> Pairs<'_> {
        let lengths_size = self.count.checked_mul(8);
        let parts = self
            .bytes
            .get(4..)
            .and_then(|rest| rest.split_at_checked(lengths_size?));
        let (lengths, texts) = parts.unwrap_or_default();
        Pairs { lengths, texts }
    }
}

struct Pairs<'b> {
    lengths: &'b [u8],
    texts: &'b [u8],
}

impl<'b> Iterator for Pairs<'b> {
    type Item = (&'b [u8], &'b [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name_size, rest) = read_u32(self.lengths)?;
        let (value_size, rest) = read_u32(rest)?;
        self.lengths = rest;
        Some((self.text(name_size)?, self.text(value_size)?))
    }
}

impl<'b> Pairs<'b> {
    fn text(&mut self, size: usize) -> Option<&'b [u8]> {
        let (text, rest) = self.texts.split_at_checked(size)?;
        let (end, rest) = rest.split_first()?;
        self.texts = rest;
        (*end == 0).then_some(text)
    }
}

fn read_u32(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

/// Writes a map for the host. `None` if a length does not fit.
pub(crate) fn encode_map<V: AsRef<str>>(map: &[(&str, V)]) -> Option<Vec<u8>> {
    let sizes = map.iter().map(|(name, value)| {
        // Two lengths and two NULs.
        let texts = name.len().saturating_add(value.as_ref().len());
        texts.saturating_add(10)
    });
    let mut bytes = Vec::with_capacity(sizes.fold(4, usize::saturating_add));
    let mut put = |size: usize| {
        bytes.extend_from_slice(&u32::try_from(size).ok()?.to_le_bytes());
        Some(())
    };
    put(map.len())?;
    for (name, value) in map {
        put(name.len())?;
        put(value.as_ref().len())?;
    }
    for (name, value) in map {
        for text in [name.as_bytes(), value.as_ref().as_bytes()] {
            bytes.extend_from_slice(text);
            bytes.push(0);
        }
    }
    Some(bytes)
}
