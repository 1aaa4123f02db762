//! The end of a callout, in the same words for all proxies.

use caracal_mandate::fetch_failure::{Cause, Kind};

use crate::abi::hostcalls::{self, BufferType, MapType};

/// Most of a response with status 503 that is read, in bytes.
const MAX_NOT_READY_BYTES: usize = 512;
/// The companion's own word for not being ready.
const NOT_READY: &[u8] = b"\"not_ready\"";

/// Why a callout failed.
#[derive(Debug)]
pub(crate) struct CalloutFailure {
    pub(crate) kind: Kind,
    pub(crate) words: String,
}

impl CalloutFailure {
    pub(crate) fn new(kind: Kind, words: impl Into<String>) -> Self {
        CalloutFailure {
            kind,
            words: words.into(),
        }
    }

    #[cold]
    pub(crate) fn dispatch_failed() -> Self {
        CalloutFailure::new(
            Kind::Untaken,
            "the proxy refused the call: is there an upstream of that name?",
        )
    }

    pub(crate) fn cause(&self) -> Cause {
        Cause::new(self.kind, &self.words)
    }
}

/// A response's status and body, or why there is none. The body of a status other than 200
/// and 503 is left out.
pub(crate) type CalloutResult = Result<(u16, Vec<u8>), CalloutFailure>;

/// Whether the companion itself says that it is not ready.
pub(crate) fn is_not_ready(status: u16, body: &[u8]) -> bool {
    status == 503 && body.windows(NOT_READY.len()).any(|part| part == NOT_READY)
}

#[cold]
pub(super) fn no_response() -> CalloutFailure {
    CalloutFailure::new(Kind::Unreached, "no answer, or one that is too large")
}

#[cold]
pub(super) fn no_status() -> CalloutFailure {
    CalloutFailure::new(Kind::Unreadable, "an answer without a status")
}

#[inline(never)]
pub(super) fn header(name: &str) -> Option<String> {
    hostcalls::get_map_value(MapType::CallResponseHeaders, name)
        .ok()
        .flatten()
        .and_then(|value| String::from_utf8(value).ok())
}

pub(super) fn status() -> Option<u16> {
    header(":status").and_then(|status| status.parse().ok())
}

/// Reads the rest of a response after its status.
#[inline(never)]
pub(super) fn read_body(status: u16, body_size: usize, max: usize) -> CalloutResult {
    if status != 200 {
        let body = match status {
            503 => {
                let size = body_size.min(MAX_NOT_READY_BYTES);
                hostcalls::get_buffer(BufferType::CallResponseBody, size).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        return Ok((status, body));
    }
    if body_size > max {
        return Err(CalloutFailure::new(
            Kind::Unreadable,
            format!("the answer is over {max} bytes"),
        ));
    }
    hostcalls::get_buffer(BufferType::CallResponseBody, body_size)
        .map(|body| (status, body))
        .map_err(|failed| {
            let words = format!("the answer cannot be read (status {})", failed.0);
            CalloutFailure::new(Kind::Unreadable, words)
        })
}
