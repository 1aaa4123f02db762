//! The part of a token that may be shown.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The fingerprint of a token: the first 8 bytes of its SHA-256, as in Caracal's audit
/// events. Logs and metrics show nothing else of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 8]);

impl Fingerprint {
    /// The fingerprint of the token as it came.
    pub fn of(token: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(token).into();
        Fingerprint(digest.first_chunk().copied().unwrap_or_default())
    }

    /// Lower-case hex digits, as they are shown.
    pub fn to_hex(self) -> [u8; 16] {
        let mut hex = [0; 16];
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        for (to, digit) in hex.iter_mut().zip(digits) {
            *to = match digit {
                0..=9 => b'0'.wrapping_add(digit),
                // 10 is the first letter, `a`.
                _ => digit.wrapping_add(b'a' - 10),
            };
        }
        hex
    }
}

/// Lower-case hex, 16 digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_hex()).unwrap_or_default())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_beginning_of_the_digest_in_hex() {
        // SHA-256 of "abc", FIPS 180-2 appendix B.1.
        let fingerprint = Fingerprint::of(b"abc");
        assert_eq!(&fingerprint.to_hex(), b"ba7816bf8f01cfea");
        assert_eq!(
            format!("{fingerprint} {fingerprint:?}"),
            "ba7816bf8f01cfea ba7816bf8f01cfea"
        );
        assert_ne!(fingerprint, Fingerprint::of(b"abd"));
    }
}
