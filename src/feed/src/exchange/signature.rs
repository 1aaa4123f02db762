//! How the Gateway signs an exchange, so that the STS knows who asks.

use sha2::{Digest as _, Sha256};

use crate::event::HmacKey;

/// The STS's token endpoint, as it is signed.
pub const TOKEN_PATH: &str = "/oauth/2/token";
/// Header of the time of the signature, in Unix seconds.
pub const TIMESTAMP: &str = "x-caracal-gateway-timestamp";
/// Header of the nonce.
pub const NONCE: &str = "x-caracal-gateway-request";
/// Header of the signature.
pub const SIGNATURE: &str = "x-caracal-gateway-signature";

/// `GATEWAY_STS_HMAC_KEY`. It is shown nowhere.
#[derive(Debug, Clone)]
pub struct GatewayKey(HmacKey);

/// What a signature is over.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// Unix seconds, decimal.
    pub timestamp: &'a str,
    /// 32 random bytes in hex.
    pub nonce: &'a str,
    /// The method, in capitals.
    pub method: &'a str,
    /// The path of the endpoint.
    pub path: &'a str,
    /// The form.
    pub body: &'a [u8],
}

impl Signed<'_> {
    fn text(&self) -> String {
        let body = hex::encode(Sha256::digest(self.body));
        [self.timestamp, self.nonce, self.method, self.path, &body].join("\n")
    }
}

impl GatewayKey {
    /// Reads a key from hex of at least 32 bytes.
    ///
    /// # Errors
    /// What was expected, in words that do not repeat it.
    pub fn from_hex(text: &str) -> Result<Self, String> {
        HmacKey::from_hex(text).map(GatewayKey)
    }

    /// The signature, in lower-case hex.
    pub fn sign(&self, what: Signed<'_>) -> String {
        self.0.sign_text(what.text().as_bytes())
    }

    /// Whether this key made a signature, in constant time.
    pub fn has_signed(&self, what: Signed<'_>, signature: &str) -> bool {
        self.0.has_signed_text(what.text().as_bytes(), signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const GOOD: Signed<'_> = Signed {
        timestamp: "1767225600",
        nonce: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        method: "POST",
        path: TOKEN_PATH,
        body: b"grant_type=x&resource=resource%3A%2F%2Fbilling-api",
    };

    /// Computed by Python's `hmac` and `hashlib`.
    const SIGNATURE: &str = "73cfbda7832ae30ce7b0b277c4e267c431dcbac8ac99c0369810f54e6d04ec4e";

    #[test]
    fn the_signature_is_what_another_implementation_computes() {
        let key = GatewayKey::from_hex(KEY).unwrap();
        assert_eq!(key.sign(GOOD), SIGNATURE);
        assert!(key.has_signed(GOOD, SIGNATURE));
    }

    #[test]
    fn every_part_is_signed() {
        let key = GatewayKey::from_hex(KEY).unwrap();
        let changed = [
            Signed {
                timestamp: "1767225601",
                ..GOOD
            },
            Signed { nonce: "b", ..GOOD },
            Signed {
                method: "PUT",
                ..GOOD
            },
            Signed {
                path: "/oauth/2/token/",
                ..GOOD
            },
            Signed { body: b"", ..GOOD },
        ];
        for what in changed {
            assert!(!key.has_signed(what, SIGNATURE), "{what:?}");
        }
        for signature in ["", "zz", "00", SIGNATURE.get(2..).unwrap()] {
            assert!(!key.has_signed(GOOD, signature), "{signature}");
        }
        let other = GatewayKey::from_hex(&KEY.replace("00", "ff")).unwrap();
        assert!(!other.has_signed(GOOD, SIGNATURE));
    }

    #[test]
    fn a_key_is_long_enough_and_hidden() {
        for text in ["", "00", "xyz", KEY.get(2..).unwrap()] {
            assert!(GatewayKey::from_hex(text).is_err());
        }
        let shown = format!("{:?}", GatewayKey::from_hex(KEY).unwrap());
        assert!(!shown.contains("0001"), "{shown}");
    }
}
