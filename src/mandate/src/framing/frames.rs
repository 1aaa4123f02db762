//! Follows the frames of one direction of a stream, from its first byte.

use super::kind::Framing;
use super::text;

/// The longest beginning of a frame: 2 bytes, a length of 8, and a mask of 4.
const MAX_HEAD: usize = 14;
/// The beginning of a gRPC-Web message: flags, and a length of 4 bytes.
const MESSAGE_HEAD: usize = 5;
/// The flag of the message that has the trailers.
const TRAILERS: u8 = 0x80;
/// The opcode of a Close frame, and the bit that all control frames have.
const CLOSE: u8 = 0x8;
/// The longest payload of a control frame (RFC 6455 section 5.5).
const MAX_CONTROL: u64 = 125;
/// Most units of work for one part of a stream: each byte of a frame's beginning is one, and
/// each group of base64 that is payload. Who sends nothing but beginnings of frames would otherwise choose
/// what the edge computes.
const MAX_WORK: usize = 8_192;
/// The units of a group of base64 that is decoded.
const DECODED_WORK: usize = 4;
/// The longest message of a text that is followed, in bytes. A text is read through its
/// payload too, because padding can stand anywhere in it.
const MAX_TEXT_MESSAGE: u64 = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Whether each frame has a mask: those of clients have, those of servers have not.
    WebSocket {
        is_masked: bool,
    },
    Message,
}

/// Where a direction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Followed,
    /// Its last frame has begun: nothing may come after it.
    Closed,
    /// What came is no frame, or was not seen.
    Lost,
}

/// The frames of one direction. It keeps the beginning of one frame and no payload.
#[derive(Debug, Clone)]
pub struct Frames {
    kind: Kind,
    state: State,
    head: [u8; MAX_HEAD],
    head_size: usize,
    /// Bytes of the frame's payload that have not come yet.
    payload_left: u64,
    /// Characters of base64 that are no whole group of four yet, where the stream is text.
    group: Option<([u8; 4], usize)>,
    /// What may still be done for this part of the stream.
    work_left: usize,
}

impl Frames {
    fn new(kind: Kind, is_text: bool) -> Self {
        Frames {
            kind,
            state: State::Followed,
            head: [0; MAX_HEAD],
            head_size: 0,
            payload_left: 0,
            group: is_text.then_some(([0; 4], 0)),
            work_left: MAX_WORK,
        }
    }

    /// From the upstream to the client.
    pub fn to_client(framing: Framing) -> Self {
        match framing {
            Framing::WebSocket => Frames::new(Kind::WebSocket { is_masked: false }, false),
            Framing::GrpcWeb => Frames::new(Kind::Message, false),
            Framing::GrpcWebText => Frames::new(Kind::Message, true),
        }
    }

    /// From the client to the upstream; `None` where nothing could be said to it.
    pub fn to_upstream(framing: Framing) -> Option<Self> {
        let masked = Kind::WebSocket { is_masked: true };
        (framing == Framing::WebSocket).then(|| Frames::new(masked, false))
    }

    /// It is certain that a frame may begin here.
    pub fn is_at_boundary(&self) -> bool {
        let no_group = self.group.is_none_or(|(_, size)| size == 0);
        self.state == State::Followed && self.head_size == 0 && self.payload_left == 0 && no_group
    }

    /// Whether more bytes say anything.
    pub fn is_followed(&self) -> bool {
        self.state == State::Followed
    }

    /// Bytes were not seen: where frames end is not known any more.
    pub fn lose(&mut self) {
        self.state = State::Lost;
    }

    /// Another part of the stream begins: what the proxy shows in one callback. A part that is
    /// more work than `MAX_WORK` is the last that is followed.
    pub fn begin_part(&mut self) {
        self.work_left = MAX_WORK;
    }

    /// `false` if nothing more is done for this part.
    fn work(&mut self, units: usize) -> bool {
        match self.work_left.checked_sub(units) {
            Some(left) => self.work_left = left,
            None => self.lose(),
        }
        self.is_followed()
    }

    /// The number of the next `size` bytes that are payload. They count as passed, and need
    /// not be read.
    pub fn skip(&mut self, size: usize) -> usize {
        if self.group.is_some() || self.state != State::Followed {
            return 0;
        }
        self.pass_payload(size)
    }

    fn pass_payload(&mut self, size: usize) -> usize {
        let left = usize::try_from(self.payload_left).unwrap_or(usize::MAX);
        let passed = size.min(left);
        let passed_long = u64::try_from(passed).unwrap_or(u64::MAX);
        self.payload_left = self.payload_left.saturating_sub(passed_long);
        passed
    }

    /// The next bytes of the stream.
    pub fn read(&mut self, bytes: &[u8]) {
        let Some((mut group, mut size)) = self.group else {
            return self.read_binary(bytes);
        };
        for &byte in bytes {
            if !self.is_followed() {
                break;
            }
            if let Some(place) = group.get_mut(size) {
                *place = byte;
            }
            size = size.saturating_add(1);
            if size < group.len() {
                continue;
            }
            size = 0;
            self.read_group(group);
        }
        self.group = Some((group, size));
    }

    fn read_group(&mut self, group: [u8; 4]) {
        if self.payload_left >= 3 {
            match text::size(group) {
                Some(size) if self.work(1) => _ = self.pass_payload(size),
                _ => self.lose(),
            }
            return;
        }
        match text::decode(group) {
            Some((decoded, size)) if self.work(DECODED_WORK) => {
                self.read_binary(decoded.get(..size).unwrap_or_default());
            }
            _ => self.lose(),
        }
    }

    fn read_binary(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while self.state == State::Followed {
            let passed = self.pass_payload(rest.len());
            let Some((&next, more)) = rest.get(passed..).and_then(<[u8]>::split_first) else {
                return;
            };
            rest = more;
            if !self.work(1) {
                return;
            }
            if let Some(place) = self.head.get_mut(self.head_size) {
                *place = next;
            }
            self.head_size = self.head_size.saturating_add(1);
            match self.kind {
                Kind::WebSocket { is_masked } => self.begin_frame(is_masked),
                Kind::Message => self.begin_message(),
            }
        }
    }

    /// Begins the payload of a frame if all of its beginning is there.
    fn begin_frame(&mut self, is_masked: bool) {
        let [first, second, more @ ..] = self.head;
        if self.head_size < 2 {
            return;
        }
        if (second & 0x80 != 0) != is_masked {
            return self.lose();
        }
        let short = second & 0x7f;
        let (length_size, length) = match short {
            126 => (2, be(&more, 2)),
            127 => (8, be(&more, 8)),
            short => (0, u64::from(short)),
        };
        let mask = if is_masked { 4 } else { 0 };
        if self.head_size < 2_usize.saturating_add(length_size).saturating_add(mask) {
            return;
        }
        let is_control = first & CLOSE != 0;
        let is_whole = first & 0x80 != 0;
        if length > i64::MAX as u64 || (is_control && (length > MAX_CONTROL || !is_whole)) {
            return self.lose();
        }
        self.begin_payload(length, first & 0xf == CLOSE);
    }

    fn begin_message(&mut self) {
        if self.head_size < MESSAGE_HEAD {
            return;
        }
        let [flags, length @ ..] = self.head;
        self.begin_payload(be(&length, 4), flags & TRAILERS != 0);
    }

    fn begin_payload(&mut self, length: u64, is_last: bool) {
        self.head_size = 0;
        self.payload_left = length;
        if is_last {
            self.state = State::Closed;
        } else if self.group.is_some() && length > MAX_TEXT_MESSAGE {
            self.lose();
        }
    }
}

/// The first bytes as a number, the highest byte first.
fn be(bytes: &[u8], size: usize) -> u64 {
    let bytes = bytes.iter().take(size);
    bytes.fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}
