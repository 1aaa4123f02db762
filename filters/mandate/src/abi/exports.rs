//! The callbacks that a host demands and that this filter has nothing to do in. The
//! SDK's own look up the context first, which costs more than all of these together.
//! The trim gives them their names in the wasm file.
//!
//! Kong's module calls each of them without asking whether it is there; its worker dies
//! of one that is missing. APISIX writes an error for each request that lacks
//! `proxy_on_done`.
#![allow(unsafe_code, reason = "exported symbols")]
#![allow(missing_docs, unreachable_pub, reason = "called by the host")]

/// The ABI's `Continue`.
const CONTINUE: u32 = 0;
/// The ABI's "true": nothing is left to wait for.
const DONE: u32 = 1;

/// Also our own refusal passes here on its way to the client.
#[unsafe(no_mangle)]
extern "C" fn caracal_on_response_headers(_context: u32, _headers: usize, _end: u32) -> u32 {
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn caracal_on_response_body(_context: u32, _size: usize, _end: u32) -> u32 {
    CONTINUE
}

/// What a request leaves behind goes with its context, in `proxy_on_delete`.
#[unsafe(no_mangle)]
extern "C" fn caracal_on_log(_context: u32) {}

#[unsafe(no_mangle)]
extern "C" fn caracal_on_done(_context: u32) -> u32 {
    DONE
}
