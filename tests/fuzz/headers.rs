//! Input: how the headers are handed over, then the ABI's form of a header map,
//! or lines of headers. The map is read as it was written; no name of ours is left
//! that an upstream could take for one; one credential counts or none does; no
//! reply has a line break in it.

use caracal_mandate::baggage::{foreign_members, with_verified, without_ours};
use caracal_mandate::config::{Forward, PrincipalClaim};
use caracal_mandate::forwarding::{Forwarding, is_sendable};
use caracal_mandate::reply::{ErrorCode, Refusal, Reply, ReplyFormat};
use caracal_mandate::token::bearer::bearer_token;

use crate::{byte, until};

#[path = "../../filters/mandate/src/abi/header_map.rs"]
#[allow(dead_code, unreachable_pub, reason = "the filter's own file")]
mod wire;

type Headers = Vec<(Vec<u8>, Vec<u8>)>;

pub fn check(data: &[u8]) {
    let mut data = data;
    let headers = if byte(&mut data) & 1 == 0 {
        let Some(map) = read(data) else {
            return;
        };
        assert_eq!(written(&map), data[..written(&map).len()]);
        map
    } else {
        let mut headers = Headers::new();
        while !data.is_empty() {
            let mut line = until(&mut data, b'\n');
            headers.push((until(&mut line, b':').to_vec(), line.to_vec()));
        }
        assert_eq!(read(&written(&headers)).as_ref(), Some(&headers));
        headers
    };
    reserved(&headers);
    authorization(&headers);
    baggage(&headers);
    for (_, value) in headers.iter().take(2) {
        let format = ReplyFormat::for_content_type(Some(value));
        let text = String::from_utf8_lossy(value);
        replies(&text, format);
        if is_sendable(&text) {
            assert!(text.bytes().all(|b| (0x20..0x7f).contains(&b)) && text.trim() == text);
        }
    }
}

fn read(data: &[u8]) -> Option<Headers> {
    let map = wire::HeaderMap::new(data.to_vec())?;
    let owned = |(name, value): (&[u8], &[u8])| (name.to_vec(), value.to_vec());
    Some(map.iter().map(owned).collect())
}

/// The ABI's form, written by another hand.
fn written(map: &Headers) -> Vec<u8> {
    let number = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
    if map.is_empty() {
        return Vec::new();
    }
    let mut bytes = number(map.len()).to_vec();
    for (name, value) in map {
        bytes.extend([number(name.len()), number(value.len())].concat());
    }
    for (name, value) in map {
        bytes.extend([name, &b"\0"[..], value, b"\0"].concat());
    }
    bytes
}

/// What is left once reserved names are gone does not become one of ours in a CGI
/// environment, where case and punctuation are lost (RFC 3875, section 4.1.18).
fn reserved(headers: &Headers) {
    let mut forward = Forward::default();
    forward
        .headers
        .insert("x-user".to_owned(), PrincipalClaim::Sub);
    let forwarding = Forwarding::from(&forward);
    let variable = |name: &[u8]| {
        let upper = name.iter().map(u8::to_ascii_uppercase);
        let plain = upper.map(|b| if b.is_ascii_alphanumeric() { b } else { b'_' });
        plain.collect::<Vec<u8>>()
    };
    let ours: Vec<Vec<u8>> = forward
        .headers
        .keys()
        .map(|own| variable(own.as_bytes()))
        .collect();
    for (name, _) in headers
        .iter()
        .filter(|(name, _)| !forwarding.is_reserved(name))
    {
        let variable = variable(name);
        assert!(!ours.contains(&variable), "{}", name.escape_ascii());
        assert!(
            !variable.starts_with(b"X_CARACAL_"),
            "{}",
            name.escape_ascii()
        );
    }
}

fn authorization(headers: &Headers) {
    let named = |name: &[u8]| name.eq_ignore_ascii_case(b"authorization");
    let values: Vec<&[u8]> = headers
        .iter()
        .filter(|(name, _)| named(name))
        .map(|(_, value)| value.as_slice())
        .collect();
    match bearer_token(&values) {
        Ok(token) => {
            let [value] = values[..] else {
                panic!("{} values", values.len());
            };
            let blank = |b: &u8| *b == b' ' || *b == b'\t';
            let words: Vec<&[u8]> = value.split(blank).filter(|word| !word.is_empty()).collect();
            assert!(words[0].eq_ignore_ascii_case(b"bearer"));
            let whole = token.split(blank).filter(|word| !word.is_empty());
            assert!(words[1..].iter().copied().eq(whole));
            assert!(!token.contains(&b',') && !blank(&token[0]) && !blank(token.last().unwrap()));
        }
        Err(refusal) => {
            let codes = [ErrorCode::MissingToken, ErrorCode::InvalidToken];
            assert!(codes.contains(&refusal.code()));
        }
    }
}

/// Every header as a line of `baggage`: no member of ours is left, whoever splits it, and of
/// what the specification allows everything else is.
fn baggage(headers: &Headers) {
    let lines: Vec<&[u8]> = headers.iter().map(|(_, value)| value.as_slice()).collect();
    if lines.is_empty() {
        return;
    }
    let whole = lines.join(&b',');
    let ours = |member: &&[u8]| {
        let name: Vec<u8> = member.iter().map(u8::to_ascii_lowercase).collect();
        let graphic = name.iter().position(u8::is_ascii_graphic);
        graphic.is_some_and(|from| name[from..].starts_with(b"caracal."))
    };
    let members = |text: &[u8]| -> Vec<Vec<u8>> {
        let all = text.split(|b| *b == b',').map(<[u8]>::trim_ascii);
        all.filter(|one| !one.is_empty())
            .map(<[u8]>::to_vec)
            .collect()
    };
    for left in [without_ours(&lines), foreign_members(&lines)] {
        let left = left.unwrap_or_else(|| whole.clone());
        let mut parts = left.split(|b| b",;".contains(b));
        assert!(!parts.any(|part| ours(&part)), "{}", left.escape_ascii());
        let known = members(&whole);
        assert!(members(&left).iter().all(|one| known.contains(one)));
        let all = with_verified(&left, "caracal.hop=1");
        assert!(all.ends_with(b"caracal.hop=1"));
    }
}

/// A refusal that repeats what an operator configured, in every code and format.
fn replies(text: &str, format: ReplyFormat) {
    for code in ErrorCode::ALL {
        let reply = Reply::new(&Refusal::new(code, text.to_owned()), format);
        for (name, value) in &reply.headers {
            assert!(!name.is_empty());
            assert!(
                value.bytes().all(|b| (0x20..0x7f).contains(&b)),
                "{value:?}"
            );
        }
        match format {
            ReplyFormat::Http => {
                let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
                assert_eq!(body["error_description"], text);
            }
            ReplyFormat::Grpc => assert!(std::str::from_utf8(&reply.body).is_ok()),
        }
    }
}
