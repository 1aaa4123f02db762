//! Signature checks as the filter makes them: counted, for the metrics.

use std::cell::RefCell;

use caracal_mandate::signature::{PublicKey, PureRust, SignatureVerifier};

/// Notes the result of every signature check.
#[derive(Default)]
pub(crate) struct Counted {
    checks: RefCell<Vec<bool>>,
}

impl Counted {
    /// Whether each signature was valid, in the order they were checked.
    pub(crate) fn into_results(self) -> Vec<bool> {
        self.checks.into_inner()
    }
}

impl SignatureVerifier for Counted {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        let valid = PureRust.verify(key, message, signature);
        if let Ok(mut checks) = self.checks.try_borrow_mut() {
            checks.push(valid);
        }
        valid
    }
}
