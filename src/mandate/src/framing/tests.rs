//! Frames in every partition, and what is none.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;
use crate::decision::authority::Ended;
use crate::reply::{ErrorCode, Refusal};

/// A frame with a length in its shortest form.
fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let bit = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        size @ ..126 => bytes.push(bit | size as u8),
        size @ ..65_536 => {
            bytes.push(bit | 126);
            bytes.extend((size as u16).to_be_bytes());
        }
        size => {
            bytes.push(bit | 127);
            bytes.extend((size as u64).to_be_bytes());
        }
    }
    bytes.extend(
        mask.unwrap_or_default()
            .iter()
            .take(if mask.is_some() { 4 } else { 0 }),
    );
    bytes.extend(payload);
    bytes
}

fn message(flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![flags];
    bytes.extend((payload.len() as u32).to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Reads bytes in parts of these sizes, as the filter does: payload is not looked at.
fn follow(mut frames: Frames, bytes: &[u8], mut sizes: impl FnMut() -> usize) -> Frames {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (part, after) = rest.split_at(sizes().clamp(1, rest.len()));
        frames.begin_part();
        let skipped = frames.skip(part.len());
        frames.read(&part[skipped..]);
        rest = after;
    }
    frames
}

fn whole(frames: Frames, bytes: &[u8]) -> Frames {
    follow(frames, bytes, || usize::MAX)
}

fn server() -> Frames {
    Frames::to_client(Framing::WebSocket)
}

fn client() -> Frames {
    Frames::to_upstream(Framing::WebSocket).unwrap()
}

#[test]
fn what_is_framed_is_known_by_its_headers() {
    let of = |upgrade: Option<&str>, content_type: Option<&str>| {
        Framing::of_request(upgrade.map(str::as_bytes), content_type.map(str::as_bytes))
    };
    assert_eq!(of(Some("WebSocket"), None), Some(Framing::WebSocket));
    assert_eq!(of(Some("websocket, h2c"), None), None);
    assert_eq!(of(None, Some("application/grpc")), None);
    assert_eq!(of(None, Some("application/grpc-webby")), None);
    assert_eq!(of(None, Some("application/grpc-web-textual")), None);
    assert_eq!(of(None, Some("text/event-stream")), None);
    for text in ["", "+proto", "; charset=x"] {
        let binary = format!("application/grpc-web{text}");
        assert_eq!(of(None, Some(&binary)), Some(Framing::GrpcWeb));
        let text = format!("application/gRPC-web-text{text}");
        assert_eq!(of(None, Some(&text)), Some(Framing::GrpcWebText));
    }
    let web = Framing::GrpcWeb;
    let answered = |framing: Framing, status: &str, content_type: Option<&str>| {
        framing.of_response(status.as_bytes(), content_type.map(str::as_bytes))
    };
    let socket = Framing::WebSocket;
    assert_eq!(answered(socket, "101", None), Some(socket));
    assert_eq!(answered(socket, "200", None), None);
    let text = Some("application/grpc-web-text+proto");
    assert_eq!(answered(web, "200", text), Some(Framing::GrpcWebText));
    assert_eq!(answered(web, "503", text), None);
    assert_eq!(answered(web, "200", Some("text/html")), None);
    assert_eq!(answered(web, "200", None), None);
}

#[test]
fn frames_of_each_length_end_where_they_end() {
    for size in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
        let payload = vec![0x88; size];
        for (frames, mask) in [(server(), None), (client(), Some([0xff; 4]))] {
            let bytes = frame(0x82, &payload, mask);
            let (last, before) = bytes.split_last().unwrap();
            let mut frames = whole(frames, before);
            assert!(!frames.is_at_boundary(), "{size}");
            frames.read(&[*last]);
            assert!(frames.is_at_boundary(), "{size}");
        }
    }
}

/// Control frames may come between the parts of a message, and so may ours.
#[test]
fn a_part_of_a_message_ends_at_a_boundary() {
    let mut frames = whole(server(), &frame(0x02, b"first", None));
    assert!(frames.is_at_boundary());
    frames.read(&frame(0x89, b"ping", None));
    frames.read(&frame(0xc0, b"compressed", None));
    assert!(frames.is_at_boundary());
}

#[test]
fn after_a_close_frame_nothing_may_come() {
    let frames = whole(server(), &frame(0x88, &[3, 232], None));
    assert!(!frames.is_at_boundary() && !frames.is_followed());
    let web = Frames::to_client(Framing::GrpcWeb);
    let frames = whole(web, &message(0x80, b"grpc-status: 0\r\n"));
    assert!(!frames.is_at_boundary() && !frames.is_followed());
}

#[test]
fn what_is_no_frame_is_followed_no_further() {
    let too_long = [0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0];
    let cases: [(Frames, Vec<u8>); 6] = [
        (server(), frame(0x82, b"masked", Some([1; 4]))),
        (client(), frame(0x82, b"not masked", None)),
        (server(), frame(0x89, &[0; 126], None)),
        (server(), frame(0x09, b"a part of a ping", None)),
        (server(), too_long.to_vec()),
        (Frames::to_client(Framing::GrpcWebText), b"A-==".to_vec()),
    ];
    for (frames, bytes) in cases {
        let frames = whole(frames, &bytes);
        assert!(
            !frames.is_at_boundary() && !frames.is_followed(),
            "{bytes:?}"
        );
    }
    let mut lost = server();
    lost.lose();
    lost.read(&frame(0x82, b"x", None));
    assert_eq!(lost.skip(10), 0);
    assert!(!lost.is_at_boundary());
}

/// A frame of the greatest length takes no memory, and does not wrap around.
#[test]
fn the_greatest_length_is_only_counted() {
    let mut frames = server();
    frames.read(&[0x82, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255]);
    for _ in 0..10 {
        assert_eq!(frames.skip(usize::MAX >> 8), usize::MAX >> 8);
        assert!(!frames.is_at_boundary());
    }
}

/// Each part of a text may be padded by itself.
#[test]
fn text_is_followed_through_its_padding() {
    for size in 0..10 {
        let one = message(0, &vec![7; size]);
        let mut frames = Frames::to_client(Framing::GrpcWebText);
        for part in [&one[..], &one[..2], &one[2..]] {
            frames.read(STANDARD.encode(part).as_bytes());
        }
        assert!(frames.is_at_boundary(), "{size}");
        frames.read(b"A");
        assert!(!frames.is_at_boundary(), "{size}");
    }
}

/// What a part can make the edge compute is bounded, and another part begins anew.
#[test]
fn a_part_of_nothing_but_beginnings_is_followed_no_further() {
    let web = || Frames::to_client(Framing::GrpcWeb);
    let cases: [(Frames, Vec<u8>); 3] = [
        (server(), frame(0x82, b"", None)),
        (client(), frame(0x82, b"x", Some([1; 4]))),
        (web(), message(0, b"x")),
    ];
    for (frames, one) in cases {
        let head = one.len() - usize::from(one.len() > 2);
        let most = one.repeat(8_192 / head);
        let mut parts = follow(frames.clone(), &most.repeat(3), || most.len());
        assert!(parts.is_at_boundary(), "{one:?}");
        parts.begin_part();
        parts.read(&most);
        assert!(parts.is_at_boundary());
        parts.read(&one.repeat(2));
        assert!(!parts.is_followed() && !parts.is_at_boundary(), "{one:?}");
        // Nothing makes it followed again.
        parts.begin_part();
        parts.read(&one);
        assert!(!parts.is_followed());
    }
}

/// A text costs by its length, so a long one is not followed.
#[test]
fn a_long_message_of_a_text_is_followed_no_further() {
    let begun = |size: usize| {
        let text = STANDARD.encode(message(0, &vec![7; size]));
        follow(
            Frames::to_client(Framing::GrpcWebText),
            text.as_bytes(),
            || 8_192,
        )
    };
    assert!(begun(64 * 1024).is_at_boundary());
    assert!(!begun(64 * 1024 + 1).is_followed());
    // So is a part of more than 32 KiB.
    let text = STANDARD.encode(message(0, &vec![7; 30_000]));
    let frames = Frames::to_client(Framing::GrpcWebText);
    assert!(!whole(frames.clone(), text.as_bytes()).is_followed());
    assert!(follow(frames, text.as_bytes(), || 16_384).is_at_boundary());
}

proptest! {
    /// However the bytes arrive, the boundaries are the same.
    #[test]
    fn boundaries_do_not_depend_on_the_parts(
        sizes in prop::collection::vec(0_usize..700, 1..12),
        parts in prop::collection::vec(1_usize..60, 1..9),
        cut in 0.0_f64..1.0,
        kind in 0..4,
    ) {
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        for size in sizes {
            let payload = vec![0x88; size];
            let one = match kind {
                0 => frame(0x82, &payload, None),
                1 => frame(0x02, &payload, Some([9, 8, 7, 6])),
                2 => message(1, &payload),
                _ => STANDARD.encode(message(0, &payload)).into_bytes(),
            };
            bytes.extend(one);
            ends.push(bytes.len());
        }
        let frames = match kind {
            0 => server(),
            1 => client(),
            2 => Frames::to_client(Framing::GrpcWeb),
            _ => Frames::to_client(Framing::GrpcWebText),
        };
        let at = (bytes.len() as f64 * cut) as usize;
        let mut turn = parts.iter().cycle();
        let followed = follow(frames.clone(), &bytes[..at], || *turn.next().unwrap());
        prop_assert!(followed.is_followed());
        prop_assert_eq!(followed.is_at_boundary(), ends.contains(&at));
        let all = follow(followed, &bytes[at..], || *turn.next().unwrap());
        prop_assert!(all.is_at_boundary());
    }

    /// Nothing that a peer sends panics, or is a boundary after it was lost.
    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for framing in [Framing::WebSocket, Framing::GrpcWeb, Framing::GrpcWebText] {
            let frames = whole(Frames::to_client(framing), &bytes);
            prop_assert!(frames.is_followed() || !frames.is_at_boundary());
        }
    }
}

#[test]
fn a_farewell_is_a_whole_frame_that_ends_the_stream() {
    for reason in Ended::ALL {
        let refusal = reason.refusal();
        let close = farewell(Framing::WebSocket, &refusal, true);
        assert_eq!(close[..4], [0x88, close.len() as u8 - 2, 3, 240]);
        assert_eq!(&close[4..], refusal.code().as_str().as_bytes());
        assert!(!whole(server(), &close).is_followed());
        let masked = close_upstream(&refusal);
        assert_eq!(masked[2..6], [0; 4]);
        assert_eq!(masked[6..], close[2..]);
        assert!(!whole(client(), &masked).is_followed());
        for framing in [Framing::GrpcWeb, Framing::GrpcWebText] {
            let frame = farewell(framing, &refusal, true);
            assert!(!whole(Frames::to_client(framing), &frame).is_followed());
        }
    }
    // The longest code leaves room in a control frame.
    for code in ErrorCode::ALL {
        let close = farewell(Framing::WebSocket, &Refusal::new(code, "x"), true);
        assert!(close.len() <= 127, "{code:?}");
    }
}

#[test]
fn the_trailers_of_grpc_web_say_why() {
    let refusal = Refusal::new(ErrorCode::SessionRevoked, "it was 100 % revoked");
    let frame = farewell(Framing::GrpcWeb, &refusal, true);
    let text = String::from_utf8(frame[5..].to_vec()).unwrap();
    assert_eq!(frame[..5], message(0x80, &frame[5..])[..5]);
    assert_eq!(
        text,
        "grpc-status: 16\r\ngrpc-message: session_revoked: it was 100 %25 revoked\r\nx-caracal-revoked: true\r\n"
    );
    let expired = farewell(Framing::GrpcWeb, &refusal, false);
    assert!(!String::from_utf8_lossy(&expired).contains("revoked: true"));
    let encoded = farewell(Framing::GrpcWebText, &refusal, true);
    assert_eq!(STANDARD.decode(encoded).unwrap(), frame);
}
