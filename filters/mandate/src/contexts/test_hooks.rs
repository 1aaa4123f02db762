//! Hooks for tests, which call them with a header. They are in no file that is deployed.

use caracal_mandate::jwks::signature::{P256Key, PublicKey, PureRust, SignatureVerifier as _};

use crate::abi::hostcalls;
use crate::proxy::Proxy;
use crate::proxy::adapter::RequestHeaders;

/// Handles a request with a hook; false for any other request. `x-test-trap` traps.
/// `x-test-signature` is `ALGORITHM KEY SIGNATURE MESSAGE`, all but the first in hex
/// after an `x`; its reply is `wasm=BOOL host=BOOL`. The host verifies ES256 only.
pub(crate) fn handle(headers: &RequestHeaders, proxy: Proxy) -> bool {
    if headers.all("x-test-trap").next().is_some() {
        core::arch::wasm32::unreachable();
    }
    let Some(question) = headers.all("x-test-signature").next() else {
        return false;
    };
    let answer = verify_with_each(question, proxy).unwrap_or_else(|| "malformed".to_owned());
    let _ = hostcalls::send_local_response(200, "test_hook", &[], answer.as_bytes(), None);
    true
}

fn verify_with_each(question: &[u8], proxy: Proxy) -> Option<String> {
    let parts: Vec<&[u8]> = question.split(|b| *b == b' ').collect();
    let [algorithm, key, signature, message] = parts.as_slice() else {
        return None;
    };
    let (key, signature, message) = (
        decode_hex(key)?,
        decode_hex(signature)?,
        decode_hex(message)?,
    );
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
    let key = PublicKey::P256(key);
    let by_host = proxy.verify_signature(&key, &message, &signature) == Some(true);
    let by_wasm = PureRust.verify(&key, &message, &signature);
    Some(format!("wasm={by_wasm} host={by_host}"))
}

fn decode_hex(hex: &[u8]) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16);
    let (pairs, []) = hex.strip_prefix(b"x")?.as_chunks::<2>() else {
        return None;
    };
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
    pairs.iter().map(byte).collect()
}
