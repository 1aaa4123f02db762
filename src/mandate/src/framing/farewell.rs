//! The last frame of a stream whose authority has ended.

use super::kind::Framing;
use super::text;
use crate::header_names::REVOKED_TRAILER;
use crate::reply::Refusal;

/// A Close frame that is whole.
const CLOSE: u8 = 0x88;
/// "Policy violation" (RFC 6455 section 7.4.1).
const POLICY_VIOLATION: [u8; 2] = 1008_u16.to_be_bytes();
/// The longest reason after the code, in bytes (RFC 6455 section 5.5).
const MAX_REASON: usize = 123;
const MASKED: u8 = 0x80;

/// What the client is told at the end of a frame: a Close frame with code 1008 and the error
/// code, or trailers with the status of the refusal. `is_revoked`: it has not expired.
pub fn farewell(framing: Framing, refusal: &Refusal, is_revoked: bool) -> Vec<u8> {
    match framing {
        Framing::WebSocket => close(refusal, false),
        Framing::GrpcWeb => trailers(refusal, is_revoked),
        Framing::GrpcWebText => text::encode(&trailers(refusal, is_revoked)),
    }
}

/// The Close frame of a client, for a WebSocket's upstream, which then closes too. Its mask is
/// zero: masks are random because pages choose payloads (RFC 6455 section 10.3), and nobody
/// chooses this one.
pub fn close_upstream(refusal: &Refusal) -> Vec<u8> {
    close(refusal, true)
}

fn close(refusal: &Refusal, is_masked: bool) -> Vec<u8> {
    let code = refusal.code().as_str().as_bytes();
    let reason = code.get(..code.len().min(MAX_REASON)).unwrap_or_default();
    let size = reason.len().saturating_add(POLICY_VIOLATION.len());
    let size = u8::try_from(size).unwrap_or_default();
    let mut frame = vec![CLOSE, size];
    if is_masked {
        frame = vec![CLOSE, size | MASKED, 0, 0, 0, 0];
    }
    frame.extend_from_slice(&POLICY_VIOLATION);
    frame.extend_from_slice(reason);
    frame
}

/// The frame of gRPC-Web's trailers: flag, length, and header lines.
fn trailers(refusal: &Refusal, is_revoked: bool) -> Vec<u8> {
    let code = refusal.code();
    let message = format!("{}: {}", code.as_str(), refusal.description());
    let mut text = format!("grpc-status: {}\r\ngrpc-message: ", code.grpc_status());
    for byte in message.into_bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text.push_str("\r\n");
    if is_revoked {
        text.push_str(REVOKED_TRAILER);
        text.push_str(": true\r\n");
    }
    let size = u32::try_from(text.len()).unwrap_or_default();
    let mut frame = vec![0x80];
    frame.extend_from_slice(&size.to_be_bytes());
    frame.extend_from_slice(text.as_bytes());
    frame
}
