//! Long byte strings of each request, read eight bytes at a time. On `wasm32` the standard
//! library and `memchr` read them in steps of one or four bytes, which takes two to six
//! times the instructions (`make profile`).

/// Whether two byte strings are equal. The time tells where they differ, so this is not for
/// secrets.
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    let (these, rest) = one.as_chunks::<8>();
    let (those, end) = other.as_chunks::<8>();
    let number = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    these.len() == those.len()
        && these.iter().map(number).eq(those.iter().map(number))
        && rest == end
}

const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);

/// Whether a text stands in a JSON string as it is: visible ASCII and spaces, no quote and
/// no backslash.
pub fn is_plain_json(bytes: &[u8]) -> bool {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    let (chunks, rest) = bytes.as_chunks::<8>();
    // In each part the highest bit of a byte says what is wrong with it. A byte above such
    // a one may be taken for wrong too, which changes nothing.
    let wrong = chunks.iter().fold(0, |wrong, chunk| {
        let all = u64::from_ne_bytes(*chunk);
        let is_zero = |byte: u64| byte.wrapping_sub(LOW) & !byte;
        let control = all.wrapping_sub(u64::from_ne_bytes([b' '; 8])) & !all;
        let above_ascii = all | all.wrapping_add(LOW);
        let quote = is_zero(all ^ u64::from_ne_bytes([b'"'; 8]));
        let backslash = is_zero(all ^ u64::from_ne_bytes([b'\\'; 8]));
        wrong | control | above_ascii | quote | backslash
    });
    wrong & HIGH == 0 && rest.iter().all(is_plain)
}

/// Whether a byte occurs in a byte string.
pub fn contains(bytes: &[u8], byte: u8) -> bool {
    let pattern = u64::from_ne_bytes([byte; 8]);
    let (chunks, rest) = bytes.as_chunks::<8>();
    // A byte of `same` is zero where the two are equal. Only a zero byte, or one above a
    // zero byte, borrows into its highest bit.
    let found = chunks.iter().fold(0, |found, chunk| {
        let same = u64::from_ne_bytes(*chunk) ^ pattern;
        found | (same.wrapping_sub(LOW) & !same)
    });
    found & HIGH != 0 || rest.contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_found_wherever_it_is_and_no_other_is_taken_for_it() {
        for byte in [0, 1, b',', 0x7f, 0x80, 0xff] {
            for length in 0..40_usize {
                for other in (0..=u8::MAX).filter(|other| *other != byte) {
                    let mut bytes = vec![other; length];
                    assert!(!contains(&bytes, byte), "{byte} {other} {length}");
                    if let Some(last) = bytes.last_mut() {
                        *last = byte;
                        assert!(contains(&bytes, byte), "{byte} {other} {length}");
                    }
                }
            }
            for at in 0..40 {
                let mut bytes = [byte ^ 1; 40];
                bytes[at] = byte;
                assert!(contains(&bytes, byte), "{byte} {at}");
            }
        }
    }

    #[test]
    fn a_text_is_plain_only_if_each_byte_is() {
        for length in 0..20_usize {
            for byte in 0..=u8::MAX {
                let text = String::from(char::from(byte));
                let quoted = serde_json::to_string(&text).unwrap();
                let expected = byte < 0x7f && quoted == format!("\"{text}\"");
                for at in 0..length {
                    for other in [b' ', b'~', b'a'] {
                        let mut bytes = vec![other; length];
                        bytes[at] = byte;
                        assert_eq!(is_plain_json(&bytes), expected, "{byte} {length} {at}");
                    }
                }
            }
        }
    }

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
