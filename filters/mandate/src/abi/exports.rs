//! Callbacks that are exported instead of the SDK's. The trim step gives them their names
//! in the wasm file.
//!
//! One callback delivers the responses of callouts. The SDK's own version traps on a
//! token that it does not know, and on failed calls. Others show the response to a request
//! and its body, which is looked at only in Gateway mode and where it has frames. The other
//! callbacks return at once. Hosts require them, and the SDK's versions look up the context first, which costs more than
//! all of these together.
//!
//! Kong's module calls each of them without checking that it exists, and its worker dies
//! if one is missing. Without `proxy_on_done` APISIX logs an error for each request.
#![allow(unsafe_code, reason = "exported symbols")]
#![allow(missing_docs, unreachable_pub, reason = "called by the host")]

/// The response of a callout, or the notice that there will be none. Its headers and its
/// body can only be read in the same callback.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HttpCallResponse {
    /// The context that the host passes: on Envoy and Kong the root context that made the
    /// callout, on APISIX the request's or the root's.
    pub(crate) context: u32,
    pub(crate) token: u32,
    pub(crate) num_headers: usize,
    pub(crate) body_size: usize,
}

/// Exports the callback for the responses of callouts, which passes them to a function of
/// another room. This is bound at compile time: a response without a receiver would let a
/// request go on in APISIX.
macro_rules! export_http_call_response {
    ($receiver:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn caracal_on_http_call_response(
            context: u32,
            token: u32,
            num_headers: usize,
            body_size: usize,
            _num_trailers: usize,
        ) {
            $receiver($crate::abi::exports::HttpCallResponse {
                context,
                token,
                num_headers,
                body_size,
            });
        }
    };
}
pub(crate) use export_http_call_response;

/// Exports the callback for a response's headers, which shows the request's number, and
/// whether there is no body, to a function of another room. The filter's own replies pass here too, on their way to the
/// client.
macro_rules! export_response_headers {
    ($receiver:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn caracal_on_response_headers(context: u32, _headers: usize, end: u32) -> u32 {
            $receiver(context, end != 0);
            $crate::abi::exports::CONTINUE
        }
    };
}
pub(crate) use export_response_headers;

/// Exports the callback for the end of a stream, which passes its number to a function of
/// another room. The callback for all streams can see what was answered; `proxy_on_delete`
/// cannot, where everything else is cleaned up.
macro_rules! export_log {
    ($receiver:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn caracal_on_log(context: u32) {
            $receiver(context);
        }
    };
}
pub(crate) use export_log;

/// Exports the callback for a part of a response's body, which asks a function of another
/// room whether it goes on: the request's number, the size of what is there, whether it is
/// the last.
macro_rules! export_response_body {
    ($receiver:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn caracal_on_response_body(context: u32, size: usize, end: u32) -> u32 {
            match $receiver(context, size, end != 0) {
                true => $crate::abi::exports::CONTINUE,
                false => $crate::abi::exports::PAUSE,
            }
        }
    };
}
pub(crate) use export_response_body;

/// The ABI's `Continue`.
pub(crate) const CONTINUE: u32 = 0;
/// The ABI's `Pause`.
pub(crate) const PAUSE: u32 = 1;
/// The ABI's "true": there is nothing left to wait for.
const DONE: u32 = 1;

#[unsafe(no_mangle)]
extern "C" fn caracal_on_done(_context: u32) -> u32 {
    DONE
}
