//! Many of them at once, a new configuration, and what following costs.

use super::*;

/// Many at once: each is told, and the proxy is not asked to end too many in one tick.
#[test]
fn two_thousand_that_talk_end_within_seconds() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let streams: Vec<Stream> = (0..2_000).map(|_| socket(&mut proxy, "s1", 101)).collect();
    world.revoke("s1");
    for _ in 0..60 {
        for stream in &streams {
            proxy.respond_body(*stream, frame(b"x"), false);
        }
        proxy.advance(Duration::from_millis(100));
    }
    let told = streams
        .iter()
        .filter(|stream| !is_open(&proxy, **stream) && got(&proxy, **stream).ends_with(&close()));
    assert_eq!(told.count(), streams.len());
    assert_eq!(cuts(&proxy, "session_revoked"), 2_000);
    proxy.assert_clean();
}

/// Telling a stream ends none: those that talk and those that do not end at the full rate.
#[test]
fn streams_that_are_told_do_not_hold_up_the_ends_of_others() {
    const EACH: usize = 320;
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let mut streams = Vec::new();
    for _ in 0..EACH {
        streams.push(socket(&mut proxy, "s1", 101));
        streams.push(socket(&mut proxy, "s1", 101));
    }
    let talking: Vec<Stream> = streams.iter().copied().step_by(2).collect();
    let say = |proxy: &mut Proxy| {
        for stream in &talking {
            proxy.respond_body(*stream, frame(b"x"), false);
        }
    };
    let open = |proxy: &Proxy| streams.iter().filter(|one| is_open(proxy, **one)).count();
    say(&mut proxy);
    revoke(&world, &mut proxy, "s1");
    let mut ticks = 1;
    while open(&proxy) > 0 {
        say(&mut proxy);
        let before = open(&proxy);
        proxy.advance(Duration::from_millis(10));
        assert!(before - open(&proxy) <= 16, "too many in one tick");
        ticks += 1;
        assert!(ticks < 100, "{} are left", open(&proxy));
    }
    // 16 in each, and two to begin and to end with.
    assert!(ticks <= 2 * EACH / 16 + 2, "{ticks}");
    assert!(
        talking
            .iter()
            .all(|one| got(&proxy, *one).ends_with(&close()))
    );
    proxy.assert_clean();
}

/// A configuration that is replaced leaves nobody behind who was being told.
#[test]
fn a_new_configuration_ends_what_the_old_one_was_telling() {
    let world = World::new(ENVOY);
    let streams = json!({"end_when_revoked": true, "end_when_expired": true});
    let changes = json!({"streams": streams});
    let mut proxy = start(&world, changes);
    let open = [(); 3].map(|()| socket(&mut proxy, "s1", 101));
    for stream in open {
        proxy.respond_body(stream, frame(b"one"), false);
    }
    revoke(&world, &mut proxy, "s1");
    let [left, told, silent] = open;
    proxy.cancel(left);
    // The new one would not end them for what it knows.
    let streams = json!({"end_when_revoked": false, "end_when_expired": true});
    let next = ENVOY.configuration(json!({"streams": streams, "limits": {"max_streams": 3}}));
    proxy.configure_again(0, next);
    proxy.respond_body(told, frame(b"late"), false);
    proxy.respond_body(told, frame(b"later"), false);
    proxy.advance(Duration::from_secs(2));
    assert_eq!(got(&proxy, told), [frame(b"one"), close()].concat());
    assert_eq!(got(&proxy, silent), frame(b"one"));
    assert_eq!(cuts(&proxy, "session_revoked"), 3, "each is counted once");
    // Their places are free.
    for _ in 0..3 {
        event_stream(&mut proxy, 0, json!({"sid": "s2"}));
    }
}

/// What a part of a body costs: nothing is read of payload.
#[test]
fn payload_is_not_read() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let stream = socket(&mut proxy, "s1", 101);
    proxy.respond_body(stream, [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0], false);
    proxy.forget();
    proxy.respond_body(stream, vec![0; 60_000], false);
    let cost = proxy.cost(stream);
    assert_eq!(
        cost.host_calls.values().sum::<u64>(),
        0,
        "{:?}",
        cost.host_calls
    );
    assert!(cost.fuel < 1_000, "{}", cost.fuel);
    proxy.respond_body(stream, vec![0; 65_536 - 60_000], false);
    assert_eq!(proxy.outcome(stream).status(), Some(101));
    // It is followed to its end all the same.
    revoke(&world, &mut proxy, "s1");
    assert!(is_open(&proxy, stream));
}

/// Who sends nothing but beginnings of frames does not choose what the edge computes: such a
/// stream is followed no further, and is cut without being told.
#[test]
fn a_part_of_many_frames_costs_little_and_later_ones_nothing() {
    let world = World::new(ENVOY);
    let mut proxy = start(&world, json!({}));
    let socket_frames = [0x82, 0].repeat(32_768);
    let messages = [0; 65_536].to_vec();
    let base64 = vec![b'A'; 65_536];
    // Messages of more than 64 KiB, and of 60 000 bytes.
    let long = b"AAABAAEA".repeat(8_192);
    let payload = [&b"AAAA6mAA"[..], &b"AAAA".repeat(16_382)].concat();
    let parts = [socket_frames, messages, base64, long, payload];
    for (number, part) in parts.into_iter().enumerate() {
        let sid = format!("s{number}");
        let stream = match number {
            0 => socket(&mut proxy, &sid, 101),
            1 => web(&mut proxy, &sid, "application/grpc-web"),
            _ => web(&mut proxy, &sid, "application/grpc-web-text"),
        };
        proxy.forget();
        proxy.respond_body(stream, &part, false);
        let first = proxy.cost(stream);
        assert!(first.fuel < 3_000_000, "{number}: {}", first.fuel);
        proxy.forget();
        proxy.respond_body(stream, &part, false);
        let next = proxy.cost(stream);
        assert_eq!(next.host_calls.values().sum::<u64>(), 0, "{number}");
        assert!(next.fuel < 1_000, "{number}: {}", next.fuel);
        revoke(&world, &mut proxy, &sid);
        assert!(!is_open(&proxy, stream), "{number}");
    }
    proxy.assert_clean();
}
