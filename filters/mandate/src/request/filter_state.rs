//! Writes the decision to the proxy's filter state, where access logs can read it.

use std::rc::Rc;

use caracal_mandate::Mandate;
use caracal_mandate::forwarding::is_sendable;
use caracal_mandate::reply::Refusal;

use crate::abi::hostcalls;
use crate::vm::request_info::RequestInfo;

/// Writes a decision to the filter state of the request.
pub(crate) fn write_filter_state(
    decision: &str,
    refused: Option<&Refusal>,
    request: &RequestInfo,
    mandate: Option<&Rc<Mandate>>,
) {
    let set = |name: &str, value: &str| {
        // If a proxy keeps no state, the access log lacks a field. The decision still
        // holds.
        let _ = hostcalls::set_property(name, value.as_bytes());
    };
    set("caracal_decision", decision);
    if let Some(refusal) = refused {
        set("caracal_error", refusal.code().as_str());
        set("caracal_reason", refusal.reason());
    }
    if let Some(fingerprint) = request.fingerprint {
        let hex = fingerprint.to_hex();
        set(
            "caracal_subject_fingerprint",
            std::str::from_utf8(&hex).unwrap_or_default(),
        );
    }
    if let Some(mandate) = mandate {
        let claims = mandate.claims();
        for (name, value) in [
            ("caracal_client_id", &claims.client_id),
            ("caracal_jti", &claims.jti),
        ] {
            // Whoever asked for the mandate chose these values. A log line must stay one
            // line.
            if is_sendable(value) {
                set(name, value);
            }
        }
    }
}
