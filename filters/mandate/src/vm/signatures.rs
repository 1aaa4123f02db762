//! Who checks signatures: the host where it can (Envoy's BoringSSL takes a tenth of
//! the time), else the code in here; counted, for the metrics.

use std::cell::RefCell;

use caracal_mandate::signature::{
    KnownAnswer, PublicKey, PureRust, SignatureVerifier, es256_signature_to_der,
};

use crate::abi::hostcalls;

/// The name of Envoy's foreign function.
const VERIFY_SIGNATURE: &str = "verify_signature";
/// Its result when the signature is valid: field 1, true. Absent when it is not.
const VALID: [u8; 2] = [0x08, 1];

/// Who checked a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VerifiedBy {
    Host,
    Wasm,
}

/// What checks the signatures of one VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignatureBackend {
    by_host: bool,
}

impl SignatureBackend {
    /// The host's crypto if it is there and tells a good signature from a bad one.
    /// Only to be asked of a host that has foreign functions: elsewhere the call
    /// traps or the module does not load.
    pub(crate) fn probe_host() -> Self {
        SignatureBackend {
            by_host: KnownAnswer::es256().is_some_and(|known| known.holds_for(&HostCrypto)),
        }
    }

    /// The code in here.
    pub(crate) fn in_wasm() -> Self {
        SignatureBackend { by_host: false }
    }

    /// One decision's checks.
    pub(crate) fn recorder(self) -> RecordingVerifier {
        RecordingVerifier {
            signatures: self,
            checks: RefCell::default(),
        }
    }
}

/// The host alone; what it cannot judge is not valid.
struct HostCrypto;

impl SignatureVerifier for HostCrypto {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        verify_with_host(key, message, signature) == Some(true)
    }
}

/// `None` when the host cannot judge it: another curve, or a call that failed.
pub(crate) fn verify_with_host(key: &PublicKey, message: &[u8], signature: &[u8]) -> Option<bool> {
    let PublicKey::P256(key) = key else {
        return None;
    };
    // The host takes DER. What has none is valid for no verifier.
    let Some(signature) = es256_signature_to_der(signature) else {
        return Some(false);
    };
    let size = message
        .len()
        .saturating_add(key.spki().len())
        .saturating_add(128);
    let mut question = Vec::with_capacity(size);
    for (tag, field) in [
        (0x0a, &b"sha256"[..]),
        (0x12, key.spki()),
        (0x1a, &signature),
        (0x22, message),
    ] {
        question.push(tag);
        let mut size = field.len();
        while size >= 0x80 {
            question.push(size.to_le_bytes().first()? | 0x80);
            size >>= 7;
        }
        question.push(*size.to_le_bytes().first()?);
        question.extend_from_slice(field);
    }
    let answer = hostcalls::call_foreign_function(VERIFY_SIGNATURE, &question).ok()?;
    Some(answer == VALID)
}

/// Notes the result of every signature check.
pub(crate) struct RecordingVerifier {
    signatures: SignatureBackend,
    checks: RefCell<Vec<(VerifiedBy, bool)>>,
}

impl RecordingVerifier {
    /// Who found each signature valid or not, in the order they were checked.
    pub(crate) fn into_results(self) -> Vec<(VerifiedBy, bool)> {
        self.checks.into_inner()
    }
}

impl SignatureVerifier for RecordingVerifier {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        let answer = self
            .signatures
            .by_host
            .then(|| verify_with_host(key, message, signature))
            .flatten();
        let check = match answer {
            Some(valid) => (VerifiedBy::Host, valid),
            None => (VerifiedBy::Wasm, PureRust.verify(key, message, signature)),
        };
        if let Ok(mut checks) = self.checks.try_borrow_mut() {
            checks.push(check);
        }
        check.1
    }
}
