//! The ABI's form of a header map: a count, the lengths of every name and
//! value, then each with a NUL behind it; 32-bit little-endian numbers.

/// Names and values in the order they came, as bytes: they need not be UTF-8.
pub(crate) type HeaderMap = Vec<(Vec<u8>, Vec<u8>)>;

/// Reads a map that the host wrote. `None` when it is not one.
pub(crate) fn read_map(bytes: &[u8]) -> Option<HeaderMap> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let (count, rest) = number(bytes)?;
    let lengths_size = count.checked_mul(8)?;
    let (lengths, mut texts) = rest.split_at_checked(lengths_size)?;
    let (lengths, []) = lengths.as_chunks::<8>() else {
        return None;
    };
    let mut map = Vec::with_capacity(count);
    for pair in lengths {
        let (name_size, rest) = number(pair)?;
        let (value_size, _) = number(rest)?;
        let name = text(&mut texts, name_size)?;
        let value = text(&mut texts, value_size)?;
        map.push((name, value));
    }
    Some(map)
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

fn text(from: &mut &[u8], size: usize) -> Option<Vec<u8>> {
    let (text, rest) = from.split_at_checked(size)?;
    *from = rest.strip_prefix(&[0])?;
    Some(text.to_vec())
}

/// Writes a map for the host. `None` when a length does not fit.
pub(crate) fn write_map(map: &[(&str, String)]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut put = |size: usize| {
        bytes.extend_from_slice(&u32::try_from(size).ok()?.to_le_bytes());
        Some(())
    };
    put(map.len())?;
    for (name, value) in map {
        put(name.len())?;
        put(value.len())?;
    }
    for (name, value) in map {
        for text in [name.as_bytes(), value.as_bytes()] {
            bytes.extend_from_slice(text);
            bytes.push(0);
        }
    }
    Some(bytes)
}
