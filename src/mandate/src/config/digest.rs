//! A digest that tells one configuration from another in a log, without revealing its
//! secrets.

/// A short digest of a document that was read without an error. It leaves out the value
/// of `revocation.token`: otherwise somebody who knows the rest could confirm a guess at
/// the token. The member's name may be written with escapes, so the text after any such
/// name is left out too.
#[must_use]
pub fn digest(document: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    let (mut rest, mut is_secret) = (document, false);
    while let Some((before, text, after)) = next_text(rest) {
        sum.update(before);
        let is_value = before.trim_ascii() == b":";
        if !(is_secret && is_value) {
            sum.update(text);
        }
        is_secret = text == b"\"token\"" || text.contains(&b'\\');
        rest = after;
    }
    sum.update(rest);
    sum.finalize()
}

/// The next text with its quotes, and the bytes before and after it.
fn next_text(document: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let start = document.iter().position(|byte| *byte == b'"')?;
    let (before, from) = document.split_at_checked(start)?;
    let mut escaped = false;
    let end = from.iter().skip(1).position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    })?;
    let (text, after) = from.split_at_checked(end.checked_add(2)?)?;
    Some((before, text, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(token: &str, rest: &str) -> u32 {
        digest(format!(r#"{{"zone_id":"{rest}","revocation":{{{token}}}}}"#).as_bytes())
    }

    #[test]
    fn the_token_is_not_in_it_and_all_else_is() {
        for name in [
            r#""token":"#,
            "\"token\" :\n ",
            r#""t\u006fken":"#,
            r#""\u0074oken": "#,
        ] {
            let with = |token: &str, rest| of(&format!(r#"{name}"{token}""#), rest);
            assert_eq!(with("secret-1", "z"), with("guess", "z"), "{name}");
            assert_eq!(with(r#"a\"b\\"#, "z"), with("", "z"), "{name}");
            assert_ne!(with("secret-1", "z"), with("secret-1", "y"), "{name}");
        }
        assert_ne!(of(r#""upstream":"a""#, "z"), of(r#""upstream":"b""#, "z"));
        // A name that only looks like `token` is not left out.
        assert_ne!(
            digest(br#"{"a":"token","b":"x"}"#),
            digest(br#"{"a":"token","b":"y"}"#)
        );
    }

    #[test]
    fn any_bytes_have_one() {
        for bytes in ["", "\"", "\"\\", "{}", "\"token\":\""] {
            let _ = digest(bytes.as_bytes());
        }
    }
}
