use proptest::prelude::*;

use super::*;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn fields(pairs: &[(&str, &str)]) -> Fields {
    let bytes = |text: &str| text.as_bytes().to_vec();
    pairs.iter().map(|(n, v)| (bytes(n), bytes(v))).collect()
}

fn read(stream: Stream, pairs: &[(&str, &str)]) -> Result<Event, Refused> {
    Event::read(stream, &fields(pairs), None)
}

#[test]
fn anchors_count_once_and_an_older_name_is_read() {
    let event = read(
        Stream::Revocations,
        &[
            ("zone_id", ""),
            ("session_id", "a"),
            ("sid", "a"),
            ("root_sid", ""),
            ("edge_id", "e"),
        ],
    );
    assert_eq!(
        event,
        Ok(Event::Revoked(vec!["a".to_owned(), "e".to_owned()]))
    );
    let none = read(
        Stream::Revocations,
        &[("zone_id", "z"), ("reason", "r"), ("sid", "")],
    );
    assert_eq!(none, Err(Refused::MissingRevocationAnchor));
    let long = "x".repeat(MAX_ANCHOR_BYTES + 1);
    assert_eq!(
        read(Stream::Revocations, &[("sid", &long)]),
        Err(Refused::MissingRevocationAnchor)
    );
}

#[test]
fn epochs_are_one_to_nineteen_digits() {
    let read = |zone, epoch| read(Stream::Delegations, &[("zone_id", zone), ("epoch", epoch)]);
    for (text, epoch) in [
        ("0", 0),
        ("007", 7),
        ("9223372036854775807", i64::MAX as u64),
    ] {
        assert_eq!(
            read("z", text),
            Ok(Event::Epoch {
                zone: "z".to_owned(),
                epoch
            })
        );
    }
    for text in [
        "",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1e3",
        "9223372036854775808",
        "00000000000000000001",
        "\u{661}",
    ] {
        assert_eq!(
            read("z", text),
            Err(Refused::InvalidDelegationEpoch),
            "{text}"
        );
    }
    assert_eq!(read("", "1"), Err(Refused::InvalidDelegationEpoch));
}

/// The value comes from Python's `hmac`, over the contract's canonical form.
#[test]
fn the_signature_is_over_the_canonical_form() {
    let key = HmacKey::from_hex(KEY).unwrap();
    let mut signed = fields(&[("zone_id", "z"), ("sid", "s-1"), ("reason", "logout")]);
    key.sign(Stream::Revocations, &mut signed);
    let signature = String::from_utf8(signed[SIGNATURE_FIELD].clone()).unwrap();
    assert_eq!(
        signature,
        "abc4b9091ac732a387669cd51ce88ddb865fb1d80144c898bcd4cf7de3c1daba"
    );
    assert!(Event::read(Stream::Revocations, &signed, Some(&key)).is_ok());
    let refused = |stream, fields: &Fields| {
        assert_eq!(
            Event::read(stream, fields, Some(&key)),
            Err(Refused::InvalidSignature)
        );
    };
    refused(Stream::Delegations, &signed);
    let mut other = signed.clone();
    other.insert(b"sid".to_vec(), b"s-2".to_vec());
    refused(Stream::Revocations, &other);
    let mut upper = signed.clone();
    upper.insert(
        SIGNATURE_FIELD.to_vec(),
        signature.to_uppercase().into_bytes(),
    );
    refused(Stream::Revocations, &upper);
    for bad in ["", "00", "zz", signature.get(..62).unwrap()] {
        let mut cut = signed.clone();
        cut.insert(SIGNATURE_FIELD.to_vec(), bad.as_bytes().to_vec());
        refused(Stream::Revocations, &cut);
    }
    signed.remove(SIGNATURE_FIELD);
    refused(Stream::Revocations, &signed);
}

#[test]
fn a_key_is_hex_of_at_least_thirty_two_bytes_and_is_not_shown() {
    assert!(HmacKey::from_hex("xyz").is_err());
    assert!(HmacKey::from_hex(KEY.get(..62).unwrap()).is_err());
    assert_eq!(format!("{:?}", HmacKey::from_hex(KEY).unwrap()), "(hidden)");
}

#[test]
fn a_dead_letter_is_bounded() {
    let mut huge = fields(&[("b", "x"), ("a", &"y".repeat(1_000_000))]);
    huge.insert(vec![0xff], vec![0xfe]);
    let payload = dead_payload(&huge);
    assert!(payload.len() < 10_000);
    assert!(payload.starts_with(r#"{"a":"yyy"#));
}

proptest! {
    #[test]
    fn any_message_is_read_or_refused(
        pairs in proptest::collection::btree_map(any::<Vec<u8>>(), any::<Vec<u8>>(), 0..8),
    ) {
        let key = HmacKey::from_hex(KEY).unwrap();
        for stream in Stream::ALL {
            let _ = Event::read(stream, &pairs, None);
            prop_assert_eq!(Event::read(stream, &pairs, Some(&key)), Err(Refused::InvalidSignature));
            let _ = dead_payload(&pairs);
        }
    }
}
