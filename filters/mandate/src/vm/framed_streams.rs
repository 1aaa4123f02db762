//! The requests under way of this VM whose bytes are frames: WebSockets and gRPC-Web. Where
//! a frame ends they can be told why they end. What is kept of each is where its frames
//! stand; `live_streams` bounds their number.
//!
//! A proxy lets a filter add bytes only while it shows some, so only a stream that talks can
//! be told. It *parts*: from the moment its authority has ended none of its bytes pass, in
//! the place of the next ones comes the last frame, and then it is ended. The state is kept
//! without the configuration, as in `live_streams`.

use std::cell::{Cell, RefCell};

use caracal_mandate::framing::{Frames, Framing, close_upstream, farewell};
use caracal_mandate::reply::Refusal;

use crate::vm::registry::Registry;

/// A stream talks if bytes of it were shown within this time.
const TALKS_MS: u64 = 1_000;

/// A request whose bytes are frames.
pub(crate) struct FramedStream {
    /// What the request asks for, and after its response has begun, what it is.
    framing: Framing,
    /// The response has such frames.
    is_confirmed: bool,
    pub(crate) to_client: Frames,
    pub(crate) to_upstream: Option<Frames>,
    /// When bytes of it were last shown.
    talked_ms: Option<u64>,
    parting: Option<Parting>,
}

/// What a stream that parts has not been told yet.
struct Parting {
    client: Option<Vec<u8>>,
    upstream: Option<Vec<u8>>,
}

thread_local! {
    static ANY: Cell<bool> = const { Cell::new(false) };
    /// The time of the last tick, in milliseconds.
    static NOW_MS: Cell<u64> = const { Cell::new(0) };
    static FRAMED: RefCell<Registry<Box<FramedStream>>> = RefCell::default();
}

/// Whether there are any. What a stream without frames costs is this question.
pub(crate) fn any() -> bool {
    ANY.get()
}

/// Notes an admitted request of this kind, before any byte of its body was shown.
#[cold]
#[inline(never)]
pub(crate) fn insert(stream: u32, framing: Framing) {
    change(|all| {
        let one = FramedStream {
            framing,
            is_confirmed: false,
            to_client: Frames::to_client(framing),
            to_upstream: Frames::to_upstream(framing),
            talked_ms: None,
            parting: None,
        };
        all.insert(stream, Box::new(one));
    });
}

/// Forgets a request that has ended.
pub(crate) fn forget(stream: u32) {
    if any() {
        change(|all| {
            all.remove(stream);
        });
    }
}

/// Forgets a request that has no frames. One that parts stays: without it its bytes would pass.
pub(crate) fn forget_unframed(stream: u32) {
    change(|all| {
        if all.get_mut(stream).is_some_and(|one| one.parting.is_none()) {
            all.remove(stream);
        }
    });
}

fn change(act: impl FnOnce(&mut Registry<Box<FramedStream>>)) {
    FRAMED.with(|all| {
        if let Ok(mut all) = all.try_borrow_mut() {
            act(&mut all);
            ANY.set(all.len() > 0);
        }
    });
}

/// What a look at a request found.
pub(crate) enum Looked<R> {
    At(R),
    /// It is none of these.
    Nothing,
    /// It is being looked at already.
    Busy,
}

/// Looks at a request.
#[cold]
#[inline(never)]
pub(crate) fn with<R>(stream: u32, act: impl FnOnce(&mut FramedStream) -> R) -> Looked<R> {
    FRAMED.with(|all| match all.try_borrow_mut() {
        Ok(mut all) => all
            .get_mut(stream)
            .map_or(Looked::Nothing, |one| Looked::At(act(one))),
        Err(_) => Looked::Busy,
    })
}

/// A tick begins.
pub(crate) fn on_tick(now_ms: u64) {
    NOW_MS.set(now_ms);
}

/// Whether a stream can part: it talks, and its client is at the end of a frame.
#[cold]
pub(crate) fn can_part(stream: u32) -> bool {
    matches!(with(stream, |one| one.can_part()), Looked::At(true))
}

/// Lets a stream part if it can. `false` if it has to be ended at once.
#[cold]
pub(crate) fn part(stream: u32, refusal: &Refusal, is_revoked: bool) -> bool {
    let parts = with(stream, |one| {
        let can_part = one.can_part();
        if can_part {
            let upstream = one.to_upstream.as_ref();
            one.parting = Some(Parting {
                client: Some(farewell(one.framing, refusal, is_revoked)),
                upstream: upstream
                    .is_some_and(Frames::is_at_boundary)
                    .then(|| close_upstream(refusal)),
            });
        }
        can_part
    });
    matches!(parts, Looked::At(true))
}

/// Whether a stream parts, and is still there.
#[cold]
pub(crate) fn is_parting(stream: u32) -> bool {
    matches!(with(stream, |one| one.parting.is_some()), Looked::At(true))
}

/// Whether a stream that parts has still to be told why.
pub(crate) fn awaits_farewell(stream: u32) -> bool {
    let untold = with(stream, |one| {
        one.parting
            .as_ref()
            .is_some_and(|parting| parting.client.is_some())
    });
    matches!(untold, Looked::At(true))
}

impl FramedStream {
    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    fn can_part(&self) -> bool {
        let talks = |then_ms: u64| NOW_MS.get().saturating_sub(then_ms) <= TALKS_MS;
        self.is_confirmed
            && self.parting.is_none()
            && self.talked_ms.is_some_and(talks)
            && self.to_client.is_at_boundary()
    }

    /// The response has begun, and has these frames.
    pub(crate) fn confirm(&mut self, framing: Framing) {
        if self.framing != framing {
            self.to_client = Frames::to_client(framing);
        }
        self.framing = framing;
        self.is_confirmed = true;
    }

    /// Bytes of it were shown.
    pub(crate) fn talks(&mut self) {
        self.talked_ms = Some(NOW_MS.get());
    }

    /// What its client gets in the place of the next bytes; `None` if it does not part.
    pub(crate) fn instead_to_client(&mut self) -> Option<Vec<u8>> {
        Some(self.parting.as_mut()?.client.take().unwrap_or_default())
    }

    /// The same of its upstream.
    pub(crate) fn instead_to_upstream(&mut self) -> Option<Vec<u8>> {
        Some(self.parting.as_mut()?.upstream.take().unwrap_or_default())
    }
}
