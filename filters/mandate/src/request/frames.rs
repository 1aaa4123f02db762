//! Looks at the bytes of a request under way that are frames, and puts the last frame in
//! their place when its authority has ended. Of each part only the beginnings of frames are
//! read, and nothing of a part that is payload.

use caracal_mandate::framing::{Frames, Framing};

use crate::abi::hostcalls::{self, BufferType, MapType};
use crate::vm::audit::records;
use crate::vm::framed_streams::{self, FramedStream, Looked};

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
    if matches!(is_framed, Looked::At(false)) {
        framed_streams::forget_unframed(stream);
    }
}

/// How a response is framed; `None` also if a header of it cannot be read.
fn read_framing(asked: Framing) -> Option<Framing> {
    let header = |name| hostcalls::get_map_value(MapType::ResponseHeaders, name).ok();
    let status = header(":status")??;
    // A last frame of another size than the bytes in whose place it is would break the length
    // that was promised: the rest of the connection could be read as another response.
    if header("content-length")?.is_some() {
        return None;
    }
    if asked == Framing::WebSocket {
        return asked.of_response(&status, None);
    }
    // What is compressed has no frames here.
    if header("content-encoding")?.is_some() {
        return None;
    }
    asked.of_response(&status, header("content-type")?.as_deref())
}

/// What becomes of the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passing {
    /// They are no frames: what the request's phase says goes.
    NotFramed,
    /// What is there goes on: the bytes themselves, or what was put in their place.
    Yes,
    No,
}

/// A part of a response's body, of `size` bytes. `false` if it must not go on. What is not
/// known here is a response without frames: one that parts is known until its context goes.
pub(crate) fn on_response_body(stream: u32, size: usize, is_last: bool) -> bool {
    records::response_passes(stream, size, is_last);
    !framed_streams::any()
        || pass(stream, size, BufferType::ResponseBody, |one| {
            (one.instead_to_client(), Some(&mut one.to_client))
        }) != Passing::No
}

/// The same of a request's body. Where its authority has ended, the upstream does not get the
/// end either: it could take the request for complete.
#[cold]
#[inline(never)]
pub(crate) fn on_request_body(stream: u32, size: usize) -> Passing {
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
) -> Passing {
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
    match passed {
        Looked::At(Ok(())) => Passing::Yes,
        Looked::Nothing => Passing::NotFramed,
        // Whether it parts is not known.
        Looked::At(Err(_)) | Looked::Busy => Passing::No,
    }
}

fn follow(frames: &mut Frames, buffer: BufferType, size: usize) {
    frames.begin_part();
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
