//! Streams of frames whose clients are told why they end: WebSockets and gRPC-Web.

use super::*;

mod many;

/// A tick, and a little.
const NEXT: Duration = Duration::from_millis(20);
/// As long as a stream that talks may take to be told, and more.
const PARTED: Duration = Duration::from_millis(700);

fn socket(proxy: &mut Proxy, sid: &str, status: u32) -> Stream {
    let upgrade = request(json!({"sid": sid}))
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .open();
    let stream = proxy.request(0, upgrade);
    proxy.respond_open(stream, status, [("upgrade", "websocket")]);
    proxy.respond_body(stream, "", false);
    stream
}

fn web(proxy: &mut Proxy, sid: &str, content_type: &str) -> Stream {
    let call = request(json!({"sid": sid})).header("content-type", content_type);
    let stream = proxy.request(0, call);
    proxy.respond_open(stream, 200, [("content-type", content_type)]);
    stream
}

fn frame(payload: &[u8]) -> Vec<u8> {
    [&[0x82, payload.len() as u8], payload].concat()
}

fn masked(payload: &[u8]) -> Vec<u8> {
    [&[0x82, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

/// The Close frame for a revoked session.
fn close() -> Vec<u8> {
    [&[0x88, 17, 3, 240], &b"session_revoked"[..]].concat()
}

#[track_caller]
fn revoke(world: &World, proxy: &mut Proxy, sid: &str) {
    let before = cuts(proxy, "session_revoked");
    world.revoke(sid);
    for _ in 0..50 {
        proxy.advance(Duration::from_millis(10));
        if cuts(proxy, "session_revoked") > before {
            return;
        }
    }
    panic!("nothing ends");
}

fn got(proxy: &Proxy, stream: Stream) -> Vec<u8> {
    match proxy.outcome(stream) {
        Outcome::Cut { reply, .. } => reply.unwrap().body,
        Outcome::Answered(reply) => reply.body,
        Outcome::Forwarded(_) => panic!("it is still open"),
        other => panic!("{other:?}"),
    }
}

fn is_open(proxy: &Proxy, stream: Stream) -> bool {
    !proxy.is_finished(stream)
}

fn sent(proxy: &Proxy, stream: Stream) -> Vec<u8> {
    proxy.upstream(stream).unwrap().body.clone()
}

#[test]
fn a_websocket_whose_upstream_talks_is_closed_with_1008_and_then_cut() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let stream = socket(&mut proxy, "s1", 101);
    proxy.respond_body(stream, frame(b"one"), false);
    proxy.send_body(stream, masked(b"two"), false);
    revoke(&world, &mut proxy, "s1");
    assert!(is_open(&proxy, stream));
    // What comes now reaches neither side.
    proxy.respond_body(stream, frame(b"late"), false);
    proxy.respond_body(stream, frame(b"later"), false);
    proxy.advance(NEXT);
    assert_eq!(got(&proxy, stream), [frame(b"one"), close()].concat());
    assert_eq!(sent(&proxy, stream), masked(b"two"));
    assert_eq!(cuts(&proxy, "session_revoked"), 1);
    let error = proxy.filter_state_text(stream, "caracal_error");
    assert_eq!(error, Some("session_revoked"));
    assert_eq!(proxy.details(stream), "caracal_session_revoked");
    proxy.assert_clean();
}

/// A Close frame to the upstream makes it answer, and in the place of its answer is ours.
#[test]
fn a_websocket_whose_client_talks_is_closed_on_both_sides() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let stream = socket(&mut proxy, "s1", 101);
    proxy.send_body(stream, masked(b"one"), false);
    revoke(&world, &mut proxy, "s1");
    proxy.send_body(stream, masked(b"late"), false);
    proxy.send_body(stream, masked(b"later"), false);
    let told = [
        &[0x88, 0x80 | 17, 0, 0, 0, 0, 3, 240],
        &b"session_revoked"[..],
    ]
    .concat();
    assert_eq!(sent(&proxy, stream), [masked(b"one"), told].concat());
    proxy.respond_body(stream, [0x88, 2, 3, 240], false);
    proxy.advance(NEXT);
    assert_eq!(got(&proxy, stream), close());
    proxy.assert_clean();
}

/// The end of the client's bytes does not reach the upstream as if they were complete.
#[test]
fn an_end_of_the_client_is_held_while_it_is_told() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let stream = socket(&mut proxy, "s1", 101);
    proxy.send_body(stream, masked(b"one"), false);
    revoke(&world, &mut proxy, "s1");
    proxy.send_body(stream, masked(b"late"), true);
    assert!(!proxy.upstream(stream).unwrap().complete);
    proxy.advance(PARTED);
    assert_eq!(got(&proxy, stream), b"");
    assert!(!proxy.upstream(stream).unwrap().complete);
}

#[test]
fn a_websocket_that_falls_silent_is_cut_without() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    // It has talked just now, and does not any more.
    let talked = socket(&mut proxy, "s1", 101);
    proxy.respond_body(talked, frame(b"one"), false);
    // It has been silent for long.
    let silent = socket(&mut proxy, "s2", 101);
    proxy.respond_body(silent, frame(b"one"), false);
    revoke(&world, &mut proxy, "s1");
    assert!(is_open(&proxy, talked));
    proxy.advance(PARTED);
    assert_eq!(got(&proxy, talked), frame(b"one"));
    proxy.advance(Duration::from_secs(2));
    revoke(&world, &mut proxy, "s2");
    assert!(!is_open(&proxy, silent));
    assert_eq!(cuts(&proxy, "session_revoked"), 2);
    proxy.assert_clean();
}

/// Where it is not certain that a frame ends, nothing is put between its bytes.
#[test]
fn a_websocket_within_a_frame_or_after_its_close_is_cut_at_once() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let within: [(&str, Vec<u8>, u32); 6] = [
        ("head", vec![0x82], 101),
        ("payload", vec![0x82, 5, 1], 101),
        ("closed", vec![0x88, 2, 3, 232], 101),
        ("masked", masked(b"x"), 101),
        ("long", [&[0x82, 127, 0x80], &[0; 7][..]].concat(), 101),
        ("refused", frame(b"x"), 400),
    ];
    for (sid, bytes, status) in within {
        let stream = socket(&mut proxy, sid, status);
        proxy.respond_body(stream, &bytes, false);
        revoke(&world, &mut proxy, sid);
        assert!(!is_open(&proxy, stream), "{sid}");
        assert_eq!(got(&proxy, stream), bytes, "{sid}");
    }
    proxy.assert_clean();
}

/// Frames of every length in parts of every length, as a proxy reads them.
#[test]
fn frames_are_followed_through_all_parts() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let mut all = Vec::new();
    for size in [0_usize, 1, 125, 126, 300, 65_535, 65_536, 70_000] {
        all.push(0x02);
        match size {
            ..126 => all.push(size as u8),
            ..65_536 => {
                all.push(126);
                all.extend((size as u16).to_be_bytes());
            }
            _ => {
                all.push(127);
                all.extend((size as u64).to_be_bytes());
            }
        }
        // Payload that looks like the beginning of a Close frame.
        all.extend(vec![0x88; size]);
    }
    for (number, part) in [1, 7, 1_000, 16_384, usize::MAX].into_iter().enumerate() {
        let sid = format!("s{number}");
        let stream = socket(&mut proxy, &sid, 101);
        for part in all.chunks(part) {
            proxy.respond_body(stream, part, false);
        }
        revoke(&world, &mut proxy, &sid);
        proxy.respond_body(stream, "late", false);
        proxy.advance(NEXT);
        assert!(
            got(&proxy, stream) == [all.clone(), close()].concat(),
            "{part}"
        );
        proxy.forget();
    }
}

#[test]
fn grpc_web_gets_its_trailers_in_the_place_of_the_next_message() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let message = [&[0, 0, 0, 0, 3], &b"one"[..]].concat();
    let binary = web(&mut proxy, "s1", "application/grpc-web+proto");
    proxy.respond_body(binary, &message, false);
    revoke(&world, &mut proxy, "s1");
    proxy.respond_body(binary, &message, false);
    proxy.advance(NEXT);
    let all = got(&proxy, binary);
    let (before, trailers) = all.split_at(message.len());
    assert_eq!(before, message);
    let text = String::from_utf8_lossy(&trailers[5..]);
    assert_eq!(trailers[0], 0x80);
    assert!(
        text.starts_with("grpc-status: 16\r\ngrpc-message: session_revoked"),
        "{text}"
    );
    assert!(text.ends_with("x-caracal-revoked: true\r\n"), "{text}");

    // "AAAAAANvbmU=" is the same message.
    let text = web(&mut proxy, "s2", "application/grpc-web-text");
    proxy.respond_body(text, "AAAAAANvbmU=", false);
    revoke(&world, &mut proxy, "s2");
    proxy.respond_body(text, "AAAAAANvbmU=", true);
    let all = String::from_utf8(got(&proxy, text)).unwrap();
    assert!(all.starts_with("AAAAAANvbmU=gAAA"), "{all}");
    assert_eq!(cuts(&proxy, "session_revoked"), 2);
    proxy.assert_clean();
}

#[test]
fn what_is_compressed_has_no_messages() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let content_type = ("content-type", "application/grpc-web");
    let call = request(json!({"sid": "s1"})).header("content-type", "application/grpc-web");
    let stream = proxy.request(0, call);
    proxy.respond_open(stream, 200, [content_type, ("content-encoding", "gzip")]);
    proxy.respond_body(stream, [0, 0, 0, 0, 0], false);
    revoke(&world, &mut proxy, "s1");
    assert!(!is_open(&proxy, stream));
    assert_eq!(got(&proxy, stream), [0; 5]);
}

/// Trailers of another size than the promised bytes would break the connection's framing.
#[test]
fn nothing_is_put_into_a_response_of_a_promised_length() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let message = [&[0, 0, 0, 0, 3], &b"one"[..]].concat();
    for content_type in ["application/grpc-web+proto", "application/grpc-web-text"] {
        let sid = content_type;
        let call = request(json!({"sid": sid})).header("content-type", content_type);
        let stream = proxy.request(0, call);
        let headers = [("content-type", content_type), ("content-length", "80")];
        proxy.respond_open(stream, 200, headers);
        let part: &[u8] = match content_type.ends_with("text") {
            true => b"AAAAAANvbmU=",
            false => &message,
        };
        proxy.respond_body(stream, part, false);
        revoke(&world, &mut proxy, sid);
        assert!(!is_open(&proxy, stream), "{content_type}");
        assert_eq!(got(&proxy, stream), part);
    }
    // Nor where it is not known whether a length is promised.
    let call = request(json!({"sid": "s1"})).header("content-type", "application/grpc-web");
    let stream = proxy.request(0, call);
    proxy.on_host_call(|one| (one.name == "proxy_get_header_map_value").then_some(2));
    proxy.respond_open(stream, 200, [("content-type", "application/grpc-web")]);
    proxy.no_faults();
    proxy.respond_body(stream, &message, false);
    revoke(&world, &mut proxy, "s1");
    assert_eq!(got(&proxy, stream), message);
    proxy.assert_clean();
}

/// Host calls that fail let nothing of either side pass, and put nothing at an unsure place.
#[test]
fn a_failed_host_call_leaves_nothing_through() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let unread = socket(&mut proxy, "s1", 101);
    let fails = |call: &'static str| {
        move |one: &caracal_tests::host::HostCall| (one.name == call).then_some(2)
    };
    proxy.on_host_call(fails("proxy_get_buffer_bytes"));
    proxy.respond_body(unread, frame(b"one"), false);
    proxy.no_faults();
    revoke(&world, &mut proxy, "s1");
    assert_eq!(got(&proxy, unread), frame(b"one"));

    let held = socket(&mut proxy, "s2", 101);
    revoke(&world, &mut proxy, "s2");
    proxy.on_host_call(fails("proxy_set_buffer_bytes"));
    proxy.respond_body(held, frame(b"late"), false);
    proxy.send_body(held, masked(b"late"), false);
    proxy.advance(PARTED);
    assert_eq!(got(&proxy, held), b"");
    assert_eq!(sent(&proxy, held), b"");
    proxy.assert_clean();
}

/// However such a stream ends, nothing is left of it: another one costs as if it were the
/// first.
#[test]
fn nothing_is_left_of_streams_that_have_ended() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let cost = |proxy: &mut Proxy| {
        let stream = event_stream(proxy, 0, json!({"sid": "s3"}));
        proxy.advance(NEXT);
        proxy.forget();
        proxy.respond_body(stream, "data: 2\n\n", false);
        let cost = proxy.cost(stream).fuel;
        proxy.respond_body(stream, "", true);
        cost
    };
    let before = cost(&mut proxy);
    let left = socket(&mut proxy, "s1", 101);
    let ended = socket(&mut proxy, "s1", 101);
    let refused = socket(&mut proxy, "s1", 403);
    let parted = socket(&mut proxy, "s1", 101);
    proxy.respond_body(parted, frame(b"one"), false);
    assert!(cost(&mut proxy) > before, "the test sees no difference");
    proxy.cancel(left);
    proxy.respond_body(ended, "", true);
    proxy.respond_body(refused, "", true);
    revoke(&world, &mut proxy, "s1");
    proxy.cancel(parted);
    proxy.advance(PARTED);
    assert_eq!(cost(&mut proxy), before);
    proxy.assert_clean();
}
