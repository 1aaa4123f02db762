//! Foreign functions. There is one: `verify_signature`, with the few forms of protobuf
//! that it needs.

use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{DerSignature, VerifyingKey};
use p256::pkcs8::DecodePublicKey;

use super::{Args, Done, Entry, Host, Stop};
use crate::host::status;

pub(super) const FUNCTIONS: &[Entry] = &[(
    "proxy_call_foreign_function",
    "iiiiii",
    call_foreign_function,
)];

fn call_foreign_function(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let name = host.text(args.u(0), args.u(1))?;
    let input = host.bytes(args.u(2), args.u(3))?;
    let output = match name.as_str() {
        "verify_signature" => verify_signature(&input)?,
        _ => return Err(Stop::Status(status::NOT_FOUND)),
    };
    host.give(&output, args.u(4), args.u(5))
}

/// Input: field 1 `hash_function`, 2 `public_key`, 3 `signature`, 4 `text`. Output: field
/// 1 the result (absent if false), and 2 the error.
fn verify_signature(input: &[u8]) -> Result<Vec<u8>, u32> {
    let fields = fields(input).ok_or(status::BAD_ARGUMENT)?;
    let field = |number: u64| {
        let mut same = fields.iter().rev();
        same.find(|(n, _)| *n == number).map_or(&[][..], |(_, v)| v)
    };
    let hash = field(1);
    let key = VerifyingKey::from_public_key_der(field(2)).map_err(|_| status::BAD_ARGUMENT)?;
    if !hash.eq_ignore_ascii_case(b"sha256") {
        let name = String::from_utf8_lossy(hash);
        return Ok(failure(&format!("{name} is not supported.")));
    }
    let signature = DerSignature::try_from(field(3));
    match signature.and_then(|s| key.verify(field(4), &s)) {
        Ok(()) => Ok(vec![0x08, 1]),
        Err(_) => Ok(failure("Failed to verify digest.")),
    }
}

fn failure(text: &str) -> Vec<u8> {
    let mut out = vec![0x12, text.len() as u8];
    out.extend_from_slice(text.as_bytes());
    out
}

/// The length-delimited fields of a message; the others are skipped.
fn fields(mut rest: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        match tag & 7 {
            0 => drop(varint(&mut rest)?),
            1 => rest = rest.get(8..)?,
            2 => {
                let size = usize::try_from(varint(&mut rest)?).ok()?;
                found.push((tag >> 3, rest.get(..size)?));
                rest = &rest[size..];
            }
            5 => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(found)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::signature::Signer;
    use p256::ecdsa::{Signature, SigningKey};

    use super::*;

    fn message(parts: [&[u8]; 4]) -> Vec<u8> {
        let mut out = Vec::new();
        for (place, part) in parts.iter().enumerate() {
            out.push((place as u8 + 1) << 3 | 2);
            let mut size = part.len();
            while size >= 0x80 {
                out.push(size as u8 | 0x80);
                size >>= 7;
            }
            out.push(size as u8);
            out.extend_from_slice(part);
        }
        out
    }

    /// A key in Envoy's form, a signature over `text`, and both forms of the signature.
    fn signed(text: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let point = key.verifying_key().to_sec1_point(false);
        let mut spki = vec![
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        spki.extend_from_slice(point.as_bytes());
        let signature: Signature = key.sign(text);
        let der = signature.to_der().as_bytes().to_vec();
        (spki, der, signature.to_bytes().to_vec())
    }

    #[test]
    fn a_good_signature_is_true_and_a_bad_one_is_absent() {
        let text = [b'x'; 200];
        let (key, der, _) = signed(&text);
        let good = message([b"sha256", &key, &der, &text]);
        assert_eq!(verify_signature(&good), Ok(vec![8, 1]));
        let other = message([b"sha256", &key, &der, b"other"]);
        let result = verify_signature(&other).unwrap();
        assert_eq!(result[0], 0x12, "only the error text");
    }

    #[test]
    fn the_jose_form_of_a_signature_is_no_signature() {
        let (key, _, jose) = signed(b"text");
        let result = verify_signature(&message([b"sha256", &key, &jose, b"text"]));
        assert_eq!(result.unwrap()[0], 0x12);
    }

    #[test]
    fn a_bad_key_and_a_damaged_message_are_bad_arguments() {
        let (key, der, _) = signed(b"text");
        let short = message([b"sha256", &key[26..], &der, b"text"]);
        assert_eq!(verify_signature(&short), Err(status::BAD_ARGUMENT));
        let good = message([b"sha256", &key, &der, b"text"]);
        assert_eq!(
            verify_signature(&good[..good.len() - 1]),
            Err(status::BAD_ARGUMENT)
        );
    }

    #[test]
    fn another_hash_is_an_error_text() {
        let (key, der, _) = signed(b"text");
        let result = verify_signature(&message([b"sha1", &key, &der, b"text"])).unwrap();
        assert!(result.ends_with(b"is not supported."));
    }
}
