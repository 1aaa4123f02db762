//! What tests ask of the filter from outside, by a header. In no file to deploy.

use caracal_mandate::signature::{
    P256Key, PublicKey, PureRust, SignatureVerifier as _, es256_signature_to_der,
};

use crate::host;
use crate::request::Headers;

/// Does what a hook asks. `x-test-trap` traps. `x-test-signature` is
/// `ALGORITHM KEY SIGNATURE MESSAGE`, all but the first in hex behind an `x`, and
/// is answered with `wasm=BOOL host=BOOL`; the host is asked for ES256 only.
pub(crate) fn answered(headers: &Headers) -> bool {
    if headers.first("x-test-trap").is_some() {
        core::arch::wasm32::unreachable();
    }
    let Some(question) = headers.first("x-test-signature") else {
        return false;
    };
    let answer = judge(question).unwrap_or_else(|| "malformed".to_owned());
    let _ = host::send_local_response(200, "test_hook", &[], answer.as_bytes(), None);
    true
}

fn judge(question: &[u8]) -> Option<String> {
    let parts: Vec<&[u8]> = question.split(|b| *b == b' ').collect();
    let [algorithm, key, signature, message] = parts.as_slice() else {
        return None;
    };
    let (key, signature, message) = (bytes(key)?, bytes(signature)?, bytes(message)?);
    if *algorithm == b"EdDSA" {
        let key = key.try_into().ok()?;
        let key = PublicKey::Ed25519(ed25519_compact::PublicKey::new(key));
        return Some(format!(
            "wasm={}",
            PureRust.verify(&key, &message, &signature)
        ));
    }
    let (x, rest) = key.strip_prefix(&[4])?.split_first_chunk::<32>()?;
    let key = P256Key::from_coordinates(x, rest.try_into().ok()?)?;
    let by_host = es256_signature_to_der(&signature)
        .is_some_and(|der| host_verifies(key.sec1(), &der, &message));
    let by_wasm = PureRust.verify(&PublicKey::P256(key), &message, &signature);
    Some(format!("wasm={by_wasm} host={by_host}"))
}

fn bytes(hex: &[u8]) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16);
    let (pairs, []) = hex.strip_prefix(b"x")?.as_chunks::<2>() else {
        return None;
    };
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
    pairs.iter().map(byte).collect()
}

/// Envoy's `verify_signature`: a protobuf message of hash, SPKI, DER signature and
/// text in; field 1 is true, or absent.
fn host_verifies(sec1: &[u8; 65], der: &[u8], text: &[u8]) -> bool {
    const SPKI: [u8; 26] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08,
        0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let key = [SPKI.as_slice(), sec1].concat();
    let mut message = Vec::new();
    for (tag, field) in [
        (0x0a, &b"sha256"[..]),
        (0x12, &key),
        (0x1a, der),
        (0x22, text),
    ] {
        message.push(tag);
        let mut size = field.len();
        while size >= 0x80 {
            message.push(size.to_le_bytes()[0] | 0x80);
            size >>= 7;
        }
        message.push(size.to_le_bytes()[0]);
        message.extend_from_slice(field);
    }
    host::call_foreign_function("verify_signature", &message)
        .is_ok_and(|result| result.starts_with(&[0x08, 1]))
}
