//! Streams that are made of frames: where a frame ends, and what the last one says when a
//! request's authority has ended. WebSocket frames are those of RFC 6455 section 5, gRPC-Web
//! messages have a prefix of five bytes, and as text they are in base64.

mod farewell;
mod frames;
mod kind;
mod text;

pub use farewell::{close_upstream, farewell};
pub use frames::Frames;
pub use kind::Framing;

#[cfg(test)]
mod tests;
