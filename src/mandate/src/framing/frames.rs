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
            if let Some(place) = group.get_mut(size) {
                *place = byte;
            }
            size = size.saturating_add(1);
            if size < group.len() {
                continue;
            }
            size = 0;
            match text::decode(group) {
                Some(decoded) => self.read_binary(&decoded),
                None => self.lose(),
            }
        }
        self.group = Some((group, size));
    }

    fn read_binary(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while self.state == State::Followed {
            let passed = self.pass_payload(rest.len());
            let Some((&next, more)) = rest.get(passed..).and_then(<[u8]>::split_first) else {
                return;
            };
            rest = more;
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
        }
    }
}

/// The first bytes as a number, the highest byte first.
fn be(bytes: &[u8], size: usize) -> u64 {
    let bytes = bytes.iter().take(size);
    bytes.fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}
