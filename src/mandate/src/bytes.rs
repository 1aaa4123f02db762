//! Comparisons of long byte strings.

/// Whether two byte strings are equal. Compares eight bytes at a time: on `wasm32` a
/// comparison of slices goes byte by byte, and takes six times the instructions. The time
/// tells where they differ, so this is not for secrets.
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    let (these, rest) = one.as_chunks::<8>();
    let (those, end) = other.as_chunks::<8>();
    let number = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    these.len() == those.len()
        && these.iter().map(number).eq(those.iter().map(number))
        && rest == end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sameness_is_of_every_byte() {
        for length in 0..40_usize {
            let one: Vec<u8> = (0..40).take(length).collect();
            assert!(is_same(&one, &one.clone()));
            assert!(!is_same(&one, &[one.as_slice(), b"x"].concat()));
            for at in 0..length {
                let mut other = one.clone();
                other[at] ^= 0x80;
                assert!(!is_same(&one, &other), "{length} {at}");
            }
        }
    }
}
