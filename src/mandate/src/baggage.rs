//! The header `baggage` (W3C Baggage): which of its members are in Caracal's namespace, and
//! how they are written anew from verified claims (contract, "Headers of the edge").
//!
//! Upstreams read this header in many ways: some decode names, some trim more than spaces,
//! some ignore case. So a member is taken away if it is in the namespace however it is
//! trimmed and in any case. A header that hides such a name by encoding it, or that is not
//! written as the specification says, is taken away whole: nobody knows what a lenient
//! reader would find in it.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

use crate::token::claims::{Claims, Shape};

/// Longest `baggage` that is read or written, in bytes (W3C Baggage, "Limits"; Caracal's SDK
/// ignores a longer one).
pub const MAX_BYTES: usize = 8_192;
/// Most members that are read or written (the same section).
pub const MAX_MEMBERS: usize = 64;

/// The names that only the edge may use, in any case.
const NAMESPACE: &[u8] = b"caracal.";
/// How often a header may be encoded. One that is encoded more often may hide anything.
const MAX_ENCODINGS: usize = 2;
/// What a value has to encode: everything but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What is left of a request's lines of `baggage` without the members in Caracal's
/// namespace. `None` if nothing has to change; an empty value if nothing is left. A header
/// in which no reader could find such a member passes as it is, however it is written.
pub fn without_ours(lines: &[&[u8]]) -> Option<Vec<u8>> {
    let whole = joined(lines);
    let rest = if contains_namespace(&whole) {
        foreign(&whole)
    } else if hides_ours(&whole) {
        Vec::new()
    } else {
        return None;
    };
    (rest != whole.as_ref()).then_some(rest)
}

/// The same for a header that more members are written to: it also has to be one line that
/// is written as the specification says. One that is not is left out whole.
pub fn foreign_members(lines: &[&[u8]]) -> Option<Vec<u8>> {
    let whole = joined(lines);
    let rest = foreign(&whole);
    (lines.len() > 1 || rest != whole.as_ref()).then_some(rest)
}

/// The members for a verified mandate. `None` if they are over the bound.
pub fn verified_members(claims: &Claims) -> Option<String> {
    let text = |claim: &Shape<Option<String>>| claim.as_ref().ok().cloned().flatten();
    let hops = claims.hop_count.as_ref().ok().copied().flatten();
    let mut all = String::new();
    for (name, value) in [
        ("agent_session", text(&claims.agent_session_id)),
        ("delegation_edge", text(&claims.delegation_edge_id)),
        ("hop", hops.map(|hops| hops.to_string())),
        ("session", Some(claims.sid.clone())),
    ] {
        let Some(value) = value else { continue };
        if !all.is_empty() {
            all.push(',');
        }
        all.extend(["caracal.", name, "="]);
        all.extend(utf8_percent_encode(&value, ENCODED));
    }
    (all.len() <= MAX_BYTES).then_some(all)
}

/// The caller's members, of which none is in Caracal's namespace, followed by the verified
/// ones. Where both together are over the bound, the caller's give way: readers drop what is
/// over it.
pub fn with_verified(foreign: &[u8], verified: &str) -> Vec<u8> {
    let foreign = foreign.trim_ascii();
    let members = [foreign, verified.as_bytes()].map(|list| list.split(|b| *b == b',').count());
    let bytes = foreign.len().saturating_add(verified.len());
    if foreign.is_empty() || bytes >= MAX_BYTES || members.iter().sum::<usize>() > MAX_MEMBERS {
        return verified.as_bytes().to_vec();
    }
    [foreign, b",", verified.as_bytes()].concat()
}

/// Several lines are one list (RFC 9110 section 5.3).
fn joined<'l>(lines: &[&'l [u8]]) -> Cow<'l, [u8]> {
    match lines {
        [only] => Cow::Borrowed(*only),
        lines => Cow::Owned(lines.join(&b',')),
    }
}

/// The members that are not ours, without the white space around them. Nothing if the header
/// is over the bound, is not written as W3C Baggage says, or hides a member of ours.
fn foreign(whole: &[u8]) -> Vec<u8> {
    if whole.len() > MAX_BYTES {
        return Vec::new();
    }
    let mut kept = Vec::new();
    let mut members: usize = 0;
    for member in whole.split(|b| *b == b',').map(trimmed) {
        // An empty element of a list means nothing (RFC 9110 section 5.6.1.2).
        if member.is_empty() {
            continue;
        }
        members = members.saturating_add(1);
        if members > MAX_MEMBERS || !is_member(member) {
            return Vec::new();
        }
        if !names_ours(member) {
            kept.push(member);
        }
    }
    let rest = kept.join(&b',');
    match hides_ours(&rest) {
        true => Vec::new(),
        false => rest,
    }
}

/// Whether a member has an encoded name in Caracal's namespace, for which there is no honest
/// reason. A header over the bound is not decoded, so that it costs no more, and counts.
fn hides_ours(whole: &[u8]) -> bool {
    let mut reading = Cow::Borrowed(whole);
    for _ in 0..=MAX_ENCODINGS {
        if !reading.contains(&b'%') {
            return false;
        }
        if reading.len() > MAX_BYTES {
            return true;
        }
        let decoded = Cow::from(percent_decode(&reading)).into_owned();
        if decoded.len() == reading.len() {
            return false;
        }
        if names_ours(&decoded) {
            return true;
        }
        reading = Cow::Owned(decoded);
    }
    true
}

/// Whether a member is written as W3C Baggage says ("Definition"): a name, a value, and
/// properties, each of which may have a value.
fn is_member(member: &[u8]) -> bool {
    let mut parts = member.split(|b| *b == b';');
    let first = parts.next().unwrap_or_default();
    is_pair(first) == Some(true) && parts.all(|property| is_pair(property).is_some())
}

/// Whether a part has a value; `None` if it is malformed.
fn is_pair(part: &[u8]) -> Option<bool> {
    let at = part.iter().position(|b| *b == b'=');
    let (name, value) = match at {
        Some(at) => part.split_at_checked(at)?,
        None => (part, &b""[..]),
    };
    let value = trimmed(value.get(1..).unwrap_or_default());
    let name = trimmed(name);
    let is_good = !name.is_empty() && name.iter().all(is_token) && value.iter().all(is_octet);
    is_good.then_some(at.is_some())
}

/// `tchar` (RFC 9110 section 5.6.2).
fn is_token(b: &u8) -> bool {
    matches!(
        b,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-'
            | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
    )
}

/// `baggage-octet`.
fn is_octet(b: &u8) -> bool {
    b.is_ascii_graphic() && !matches!(b, b'"' | b',' | b';' | b'\\')
}

/// Without the optional white space (RFC 9110 section 5.6.3).
fn trimmed(text: &[u8]) -> &[u8] {
    let is_blank = |b: &u8| *b == b' ' || *b == b'\t';
    let from = text.iter().position(|b| !is_blank(b)).unwrap_or(text.len());
    let to = text.iter().rposition(|b| !is_blank(b));
    let to = to.map_or(0, |last| last.saturating_add(1));
    text.get(from..to).unwrap_or_default()
}

/// Whether any part of a text has a name in Caracal's namespace. What is not visible, and
/// `+`, which some decoders take for a space, is left out of a name: readers trim it.
fn names_ours(text: &[u8]) -> bool {
    let mut parts = text.split(|b| matches!(b, b',' | b';'));
    parts.any(|part| {
        let name = part.split(|b| *b == b'=').next().unwrap_or_default();
        let mut name = name.iter().filter(|b| b.is_ascii_graphic() && **b != b'+');
        NAMESPACE
            .iter()
            .all(|own| name.next().is_some_and(|b| b.eq_ignore_ascii_case(own)))
    })
}

/// Whether Caracal's namespace is anywhere in a text.
fn contains_namespace(text: &[u8]) -> bool {
    // Few texts have an `l` before a dot.
    let ends = text.windows(2).enumerate();
    let mut ends = ends.filter(|(_, pair)| matches!(pair, [b'l' | b'L', b'.']));
    ends.any(|(at, _)| {
        let end = at.saturating_add(2);
        let start = end.checked_sub(NAMESPACE.len());
        let part = start.and_then(|start| text.get(start..end));
        part.is_some_and(|part| part.eq_ignore_ascii_case(NAMESPACE))
    })
}

#[cfg(test)]
mod tests;
