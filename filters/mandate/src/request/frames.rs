//! Looks at the bytes of a request under way that are frames, and puts the last frame in
//! their place when its authority has ended. Of each part only the beginnings of frames are
//! read, and nothing of a part that is payload.

use caracal_mandate::framing::{Frames, Framing};

use crate::abi::hostcalls::{self, BufferType, MapType, Status};
use crate::vm::framed_streams::{self, FramedStream};

/// Most bytes that are read at once to find the beginnings of frames.
const WINDOW: usize = 1_024;

/// A response begins. One that has no frames is not looked at again.
#[cold]
#[inline(never)]
pub(crate) fn begins(stream: u32) {
    let is_framed = framed_streams::with(stream, |one| match read_framing(one.framing()) {
        Some(framing) => {
            one.confirm(framing);
            true
        }
        None => false,
    });
    if is_framed == Some(false) {
        framed_streams::forget(stream);
    }
}

fn read_framing(asked: Framing) -> Option<Framing> {
    let header = |name| {
        hostcalls::get_map_value(MapType::ResponseHeaders, name)
            .ok()
            .flatten()
    };
    let status = header(":status")?;
    if asked == Framing::WebSocket {
        return asked.of_response(&status, None);
    }
    // What is compressed has no frames here.
    if header("content-encoding").is_some() {
        return None;
    }
    asked.of_response(&status, header("content-type").as_deref())
}

/// A part of a response's body, of `size` bytes. `false` if it must not go on.
pub(crate) fn on_response_body(stream: u32, size: usize, _is_last: bool) -> bool {
    !framed_streams::any()
        || pass(stream, size, BufferType::ResponseBody, |one| {
            (one.instead_to_client(), Some(&mut one.to_client))
        })
}

/// The same of a request's body. Where its authority has ended, the upstream does not get the
/// end either: it could take the request for complete.
#[cold]
#[inline(never)]
pub(crate) fn on_request_body(stream: u32, size: usize) -> bool {
    pass(stream, size, BufferType::RequestBody, |one| {
        (one.instead_to_upstream(), one.to_upstream.as_mut())
    })
}

/// What takes the place of the next bytes of one direction, if it parts, and its frames, if
/// they are followed.
type Way<'f> = (Option<Vec<u8>>, Option<&'f mut Frames>);

fn pass(
    stream: u32,
    size: usize,
    buffer: BufferType,
    way: fn(&mut FramedStream) -> Way<'_>,
) -> bool {
    let passed = framed_streams::with(stream, |one| {
        // The proxy also shows nothing at all, when a WebSocket begins.
        if size > 0 {
            one.talks();
        }
        match way(one) {
            (Some(instead), _) => hostcalls::replace_buffer(buffer, size, &instead),
            (None, Some(frames)) => {
                follow(frames, buffer, size);
                Ok(())
            }
            (None, None) => Ok(()),
        }
    });
    passed.unwrap_or(Ok::<(), Status>(())).is_ok()
}

fn follow(frames: &mut Frames, buffer: BufferType, size: usize) {
    let mut at = 0_usize;
    while frames.is_followed() {
        at = at.saturating_add(frames.skip(size.saturating_sub(at)));
        if at >= size {
            return;
        }
        match hostcalls::get_buffer_part(buffer, at, WINDOW.min(size.saturating_sub(at))) {
            Ok(bytes) if !bytes.is_empty() => {
                frames.read(&bytes);
                at = at.saturating_add(bytes.len());
            }
            _ => frames.lose(),
        }
    }
}
