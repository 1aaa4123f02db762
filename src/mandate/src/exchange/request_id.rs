//! The id of a request in Gateway mode.

use sha2::{Digest as _, Sha256};

/// Longest id that is taken over from a client, in bytes.
const MAX_BYTES: usize = 128;

/// The client's id if it matches `^[A-Za-z0-9_.\-:]{1,128}$`, else a new one in the form
/// of a UUIDv4.
///
/// The filter has no random source. `parts` make the new id another one for each request:
/// the token, which is good for one request, the VM's clock and the stream's number.
pub fn request_id(of_client: Option<&[u8]>, parts: &[&[u8]]) -> String {
    if let Some(id) = of_client.and_then(usable_id) {
        return id.to_owned();
    }
    let hex = digest("request", parts);
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    let (version, variant) = ("4", "8");
    [
        part(0, 8),
        "-",
        part(8, 12),
        "-",
        version,
        part(12, 15),
        "-",
        variant,
        part(15, 18),
        "-",
        part(18, 30),
    ]
    .concat()
}

/// A client's id, if it is taken over: only then readers of the audit can look for it
/// (contract, "Audit stream").
pub fn usable_id(id: &[u8]) -> Option<&str> {
    let is_good =
        |b: &u8| matches!(b, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'.' | b'-' | b':');
    let fits = !id.is_empty() && id.len() <= MAX_BYTES && id.iter().all(is_good);
    std::str::from_utf8(id).ok().filter(|_| fits)
}

/// The client's `traceparent` if it is valid (W3C Trace Context, version 00), else a new
/// one that is not sampled.
pub fn traceparent(of_client: Option<&[u8]>, parts: &[&[u8]]) -> String {
    let given = of_client.filter(|value| is_traceparent(value));
    if let Some(value) = given.and_then(|value| std::str::from_utf8(value).ok()) {
        return value.to_owned();
    }
    let hex = digest("trace", parts);
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    ["00-", part(0, 32), "-", part(32, 48), "-00"].concat()
}

fn is_traceparent(value: &[u8]) -> bool {
    let parts: Vec<&[u8]> = value.split(|b| *b == b'-').collect();
    let [version, trace, parent, flags] = *parts.as_slice() else {
        return false;
    };
    let is_hex = |part: &[u8], len: usize| {
        part.len() == len && part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_zero = |part: &[u8]| part.iter().all(|b| *b == b'0');
    version == b"00"
        && is_hex(trace, 32)
        && is_hex(parent, 16)
        && is_hex(flags, 2)
        && !is_zero(trace)
        && !is_zero(parent)
}

fn digest(what: &str, parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new_with_prefix(what);
    for part in parts {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        digest.update(length.to_le_bytes());
        digest.update(part);
    }
    let digest: [u8; 32] = digest.finalize().into();
    digest.iter().fold(String::new(), |mut hex, byte| {
        for digit in [byte >> 4, byte & 15] {
            hex.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_s_id_is_kept_where_it_can_be_sent() {
        let parts: &[&[u8]] = &[b"token", b"1"];
        for good in ["a", "6f1c-77", &"x".repeat(128)] {
            assert_eq!(request_id(Some(good.as_bytes()), parts), good);
        }
        for bad in ["", "a b", "a/b", "a\r\nb", "é", &"x".repeat(129)] {
            let id = request_id(Some(bad.as_bytes()), parts);
            assert_eq!(id.len(), 36, "{id}");
            let at = |n| id.as_bytes().get(n).copied();
            assert_eq!((at(14), at(19)), (Some(b'4'), Some(b'8')), "{id}");
        }
        assert_ne!(request_id(None, parts), request_id(None, &[b"token", b"2"]));
        // Parts are not joined: what ends one cannot begin the next.
        assert_ne!(
            request_id(None, &[b"ab", b"c"]),
            request_id(None, &[b"a", b"bc"])
        );
    }

    #[test]
    fn a_traceparent_is_kept_where_it_is_valid() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(traceparent(Some(good.as_bytes()), &[]), good);
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            let new = traceparent(Some(bad.as_bytes()), &[b"a"]);
            assert!(is_traceparent(new.as_bytes()), "{new}");
            assert_ne!(new, bad);
        }
    }
}
