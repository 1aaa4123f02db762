//! Base64 in its usual alphabet (RFC 4648 section 4), by way of the one for URLs, which tokens
//! are in: a second alphabet would make the decoder of each token dearer.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The bytes of a group of four characters, which may be padded.
pub(super) fn decode(group: [u8; 4]) -> Option<Vec<u8>> {
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
    URL_SAFE_NO_PAD.decode(characters).ok()
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
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_usual_base64(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let text = encode(&bytes);
            prop_assert_eq!(&text, &STANDARD.encode(&bytes).into_bytes());
            let groups = text.as_chunks::<4>().0.iter();
            let decoded: Vec<u8> = groups.flat_map(|group| decode(*group).unwrap()).collect();
            prop_assert_eq!(decoded, bytes);
        }

        #[test]
        fn what_is_none_is_no_group(group in any::<[u8; 4]>()) {
            prop_assert_eq!(decode(group), STANDARD.decode(group).ok());
        }

        #[test]
        fn nearly_right_is_no_group(group in "[A-D+/=_-]{4}") {
            let group: [u8; 4] = group.into_bytes().try_into().unwrap();
            prop_assert_eq!(decode(group), STANDARD.decode(group).ok());
        }
    }
}
