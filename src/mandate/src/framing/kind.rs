//! The kinds of framing, and the headers that say which one a stream has.

/// How the bytes of a stream are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Frames in both directions.
    WebSocket,
    /// The response is messages and, at its end, trailers.
    GrpcWeb,
    /// The same in base64, of which each part may have its own padding.
    GrpcWebText,
}

const GRPC_WEB: &[u8] = b"application/grpc-web";

impl Framing {
    /// What a request asks for, by its `upgrade` and `content-type`.
    pub fn of_request(upgrade: Option<&[u8]>, content_type: Option<&[u8]>) -> Option<Self> {
        if upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(b"websocket")) {
            return Some(Framing::WebSocket);
        }
        of_content_type(content_type?)
    }

    /// What the response to such a request is; `None` if it has no frames. The status is the
    /// three digits.
    #[must_use]
    pub fn of_response(self, status: &[u8], content_type: Option<&[u8]>) -> Option<Self> {
        match self {
            Framing::WebSocket => (status == b"101").then_some(self),
            _ if status == b"200" => of_content_type(content_type?),
            _ => None,
        }
    }
}

fn of_content_type(value: &[u8]) -> Option<Framing> {
    let (name, rest) = value.split_at_checked(GRPC_WEB.len())?;
    if !name.eq_ignore_ascii_case(GRPC_WEB) {
        return None;
    }
    let (framing, rest) = match rest.split_at_checked(5) {
        Some((text, rest)) if text.eq_ignore_ascii_case(b"-text") => (Framing::GrpcWebText, rest),
        _ => (Framing::GrpcWeb, rest),
    };
    matches!(rest, [] | [b'+' | b';', ..]).then_some(framing)
}
