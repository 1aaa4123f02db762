//! Chooses who verifies signatures: the proxy if it can, which takes a tenth of the time
//! in Envoy, and otherwise the core's own code. Every check is recorded for the metrics.

use std::cell::RefCell;

use caracal_mandate::jwks::signature::{KnownAnswer, PublicKey, PureRust, SignatureVerifier};

use crate::proxy::Proxy;

/// Who verified a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VerifiedBy {
    Proxy,
    Wasm,
}

/// The verifier of one VM.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SignatureBackend {
    proxy: Proxy,
    by_host: bool,
}

impl SignatureBackend {
    /// The proxy, if it can verify and tells a good signature from a bad one. A proxy
    /// that cannot verify is not asked, because the call would trap.
    pub(crate) fn probe(proxy: Proxy) -> Self {
        let is_right = |known: KnownAnswer| known.holds_for(&ProxyCrypto(proxy));
        let can = proxy.capabilities().verifies_signatures;
        SignatureBackend {
            proxy,
            by_host: can && KnownAnswer::es256().is_some_and(is_right),
        }
    }

    /// Records the checks of one decision.
    pub(crate) fn recorder(self) -> RecordingVerifier {
        RecordingVerifier {
            backend: self,
            checks: RefCell::default(),
        }
    }
}

/// Only the proxy. If it cannot verify a signature, the signature is not valid.
struct ProxyCrypto(Proxy);

impl SignatureVerifier for ProxyCrypto {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_signature(key, message, signature) == Some(true)
    }
}

/// Records the result of every check.
pub(crate) struct RecordingVerifier {
    backend: SignatureBackend,
    checks: RefCell<Vec<(VerifiedBy, bool)>>,
}

impl RecordingVerifier {
    /// Who found each signature valid or not, in the order of the checks.
    pub(crate) fn into_results(self) -> Vec<(VerifiedBy, bool)> {
        self.checks.into_inner()
    }
}

impl SignatureVerifier for RecordingVerifier {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        let SignatureBackend { proxy, by_host } = self.backend;
        let answer = by_host
            .then(|| proxy.verify_signature(key, message, signature))
            .flatten();
        let check = match answer {
            Some(valid) => (VerifiedBy::Proxy, valid),
            None => (VerifiedBy::Wasm, PureRust.verify(key, message, signature)),
        };
        if let Ok(mut checks) = self.checks.try_borrow_mut() {
            checks.push(check);
        }
        check.1
    }
}
