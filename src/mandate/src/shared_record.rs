//! The format of small records in the host's shared data: a magic with the format's
//! version, 64-bit little-endian numbers, further bytes, and a CRC-32 over all of it. Another
//! version of this filter may have written the value, so one that does not match exactly
//! counts as absent. The checksum is against accidents; [`seal`] is against other plugins.

pub mod seal;

/// The record as bytes.
pub(crate) fn encode(magic: [u8; 4], numbers: &[u64], rest: &[u8]) -> Vec<u8> {
    let size = numbers.len().saturating_mul(8).saturating_add(rest.len());
    let mut bytes = Vec::with_capacity(size.saturating_add(8));
    bytes.extend_from_slice(&magic);
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(rest);
    let sum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// The numbers and the further bytes of a record. `None` for anything that [`encode`] did
/// not write with this magic and this many numbers.
pub(crate) fn decode<const N: usize>(magic: [u8; 4], bytes: &[u8]) -> Option<([u64; N], &[u8])> {
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    let (numbers, rest) = body
        .strip_prefix(&magic)?
        .split_at_checked(N.checked_mul(8)?)?;
    if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (numbers, []) = numbers.as_chunks::<8>() else {
        return None;
    };
    let numbers: &[[u8; 8]; N] = numbers.try_into().ok()?;
    Some((numbers.map(u64::from_le_bytes), rest))
}
