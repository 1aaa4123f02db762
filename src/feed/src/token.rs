//! The companion's token, and how a request shows that it has it.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// SHA-256 of the token. All digests have one length, so the time of a comparison does not
/// reveal the token's length.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// The token with this text.
    pub fn of(text: &str) -> Self {
        Token(Sha256::digest(text).into())
    }

    /// Whether this is the token, in a time that says nothing of it. Compares also if nothing
    /// was given, so that both answers take the same time.
    pub fn is(&self, given: Option<impl AsRef<[u8]>>) -> bool {
        let digest = given.as_ref().map(|given| Sha256::digest(given.as_ref()));
        let same = <[u8; 32]>::from(digest.unwrap_or_default()).ct_eq(&self.0);
        given.is_some() && bool::from(same)
    }
}

/// The token of `Authorization: Bearer`.
pub fn bearer(headers: &HeaderMap) -> Option<String> {
    credentials(headers, "bearer").map(str::to_owned)
}

/// The password of `Authorization: Basic` (RFC 7617), whoever the user is.
pub fn basic_password(headers: &HeaderMap) -> Option<Vec<u8>> {
    let pair = STANDARD.decode(credentials(headers, "basic")?).ok()?;
    let at = pair.iter().position(|b| *b == b':')?;
    pair.get(at.saturating_add(1)..).map(<[u8]>::to_vec)
}

fn credentials<'h>(headers: &'h HeaderMap, wanted: &str) -> Option<&'h str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    let is_wanted = scheme.eq_ignore_ascii_case(wanted);
    is_wanted.then(|| credentials.trim())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn with(authorization: &str) -> HeaderMap {
        let value = HeaderValue::from_str(authorization).unwrap();
        HeaderMap::from_iter([(header::AUTHORIZATION, value)])
    }

    #[test]
    fn only_the_token_is_the_token() {
        let token = Token::of("secret");
        assert!(token.is(Some("secret")));
        for wrong in [Some("secre"), Some(""), Some("secret "), None] {
            assert!(!token.is(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn it_comes_as_a_bearer_or_as_a_password() {
        assert_eq!(bearer(&with("bEARER  secret ")).as_deref(), Some("secret"));
        assert_eq!(bearer(&with("Basic secret")), None);
        let pair = |text: &str| with(&format!("Basic {}", STANDARD.encode(text)));
        for user in ["", "anybody"] {
            let given = basic_password(&pair(&format!("{user}:se:cret")));
            assert_eq!(given.as_deref(), Some(&b"se:cret"[..]));
        }
        for none in [&pair("secret"), &with("Basic !"), &with("Bearer YTpi")] {
            assert_eq!(basic_password(none), None);
        }
        assert_eq!(basic_password(&HeaderMap::new()), None);
    }
}
