//! The bearer token of a request (RFC 6750): contract, row 2.

use crate::bytes;
use crate::reply::{Reason, Refusal};

/// The token of the only `Authorization: Bearer` in a request.
///
/// `values` are the request's `Authorization` values, in order.
///
/// # Errors `missing_token` if there is none, or if it is empty or has another scheme.
/// `invalid_token` if there is more than one, or if there is a comma: proxies join
/// repeated headers with a comma, and nobody knows which of the two the upstream reads.
pub fn bearer_token<'a>(values: &[&'a [u8]]) -> Result<&'a [u8], Refusal> {
    let Some((first, more)) = values.split_first() else {
        return Err(Refusal::missing_token());
    };
    let Some((scheme, rest)) = split_scheme(trim(first)) else {
        return Err(Refusal::missing_token());
    };
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(Refusal::missing_token());
    }
    if !more.is_empty() || bytes::contains(rest, b',') {
        return Err(Refusal::invalid_token(
            Reason::SeveralCredentials,
            "more than one Authorization credential",
        ));
    }
    let token = trim(rest);
    if token.is_empty() {
        return Err(Refusal::missing_token());
    }
    Ok(token)
}

/// Splits at the first SP or HTAB. No other white space separates (contract, "Stricter"):
/// with U+00A0 after `Bearer`, the scheme is an unknown one.
fn split_scheme(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = value.iter().position(|b| is_space(*b))?;
    value.split_at_checked(at)
}

fn is_space(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

fn trim(value: &[u8]) -> &[u8] {
    let start = value
        .iter()
        .position(|b| !is_space(*b))
        .unwrap_or(value.len());
    let end = value
        .iter()
        .rposition(|b| !is_space(*b))
        .map_or(start, |last| last.saturating_add(1));
    value.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::ErrorCode;

    #[test]
    fn one_bearer_credential_counts() {
        let ok: &[&[u8]] = &[
            b"Bearer t",
            b"bearer  t ",
            b"BEARER\tt\t",
            b"bEaReR \t t",
            b" \tBearer t",
        ];
        for value in ok {
            assert_eq!(bearer_token(&[value]).ok(), Some(&b"t"[..]), "{value:?}");
        }
        let missing: &[&[&[u8]]] = &[
            &[],
            &[b""],
            &[b"Bearer"],
            &[b"Bearer "],
            &[b"Bearer \t "],
            &[b"Basic t"],
            &[b"Basic a, Bearer t"],
            &[b"Basic a", b"Bearer t"],
            &[b"Bearer\xc2\xa0t"],
            &[b"Bearer\x0bt"],
            &[b",Bearer t"],
            &[b"", b"Bearer t"],
        ];
        for values in missing {
            assert_eq!(
                bearer_token(values).unwrap_err().code(),
                ErrorCode::MissingToken,
                "{values:?}"
            );
        }
        let invalid: &[&[&[u8]]] = &[
            &[b"Bearer t", b"Bearer t"],
            &[b"Bearer t,Bearer t"],
            &[b"Bearer ,"],
            &[b"Bearer t", b""],
        ];
        for values in invalid {
            assert_eq!(
                bearer_token(values).unwrap_err().code(),
                ErrorCode::InvalidToken,
                "{values:?}"
            );
        }
    }
}
