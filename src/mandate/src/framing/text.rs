//! Base64 in its usual alphabet (RFC 4648 section 4), by way of the one for URLs, which tokens
//! are in: a second alphabet would make the decoder of each token dearer.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The number of bytes of a group of four characters, which may be padded. They are not
/// decoded: that costs several times as much.
pub(super) fn size(group: [u8; 4]) -> Option<usize> {
    let padding = group.iter().rev().take_while(|byte| **byte == b'=').count();
    let characters = group.get(..group.len().saturating_sub(padding))?;
    let is_of_alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let is_group = padding <= 2 && characters.iter().all(is_of_alphabet);
    is_group.then_some(3_usize.saturating_sub(padding))
}

/// The bytes of a group of four characters, which may be padded, and their number.
pub(super) fn decode(group: [u8; 4]) -> Option<([u8; 3], usize)> {
    let padding = group.iter().rev().take_while(|byte| **byte == b'=').count();
    if padding > 2 || group.iter().any(|byte| matches!(byte, b'-' | b'_')) {
        return None;
    }
    let in_url = group.map(|byte| match byte {
        b'+' => b'-',
        b'/' => b'_',
        byte => byte,
    });
    let characters = in_url.get(..group.len().saturating_sub(padding))?;
    let mut decoded = [0; 3];
    let size = URL_SAFE_NO_PAD
        .decode_slice(characters, &mut decoded)
        .ok()?;
    Some((decoded, size))
}

/// With its padding.
pub(super) fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut text = URL_SAFE_NO_PAD.encode(bytes).into_bytes();
    for byte in &mut text {
        match byte {
            b'-' => *byte = b'+',
            b'_' => *byte = b'/',
            _ => {}
        }
    }
    text.resize(text.len().next_multiple_of(4), b'=');
    text
}

#[cfg(test)]
mod tests {
    use base64::alphabet;
    use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
    use proptest::prelude::*;

    use super::*;

    fn bytes_of(group: [u8; 4]) -> Option<Vec<u8>> {
        let (bytes, size) = decode(group)?;
        Some(bytes[..size].to_vec())
    }

    proptest! {
        #[test]
        fn it_is_the_usual_base64(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let text = encode(&bytes);
            prop_assert_eq!(&text, &STANDARD.encode(&bytes).into_bytes());
            let groups = text.as_chunks::<4>().0.iter();
            let decoded: Vec<u8> = groups.flat_map(|group| bytes_of(*group).unwrap()).collect();
            prop_assert_eq!(decoded, bytes);
        }

        #[test]
        fn the_size_of_a_group_is_that_of_its_bytes(group in "[A-D0-9+/=_-]{4}") {
            let group: [u8; 4] = group.into_bytes().try_into().unwrap();
            // The bits that no byte has are not looked at.
            let lax = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
            let lax = GeneralPurpose::new(&alphabet::STANDARD, lax).decode(group);
            prop_assert_eq!(size(group), lax.ok().map(|bytes| bytes.len()));
        }

        #[test]
        fn what_is_none_is_no_group(group in any::<[u8; 4]>()) {
            prop_assert_eq!(bytes_of(group), STANDARD.decode(group).ok());
        }

        #[test]
        fn nearly_right_is_no_group(group in "[A-D+/=_-]{4}") {
            let group: [u8; 4] = group.into_bytes().try_into().unwrap();
            prop_assert_eq!(bytes_of(group), STANDARD.decode(group).ok());
        }
    }
}
