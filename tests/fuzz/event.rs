//! Input: which stream and key, then names and values with a NUL behind each. A
//! message takes effect when, and only when, another HMAC agrees with its
//! signature, and then means what its fields say.

use caracal_feed::event::{
    Event, Fields, HmacKey, MAX_ANCHOR_BYTES, Refused, Stream, dead_payload,
};
use ring::hmac;

use crate::{byte, until};

const KEY: [u8; 32] = [7; 32];

pub fn check(data: &[u8]) {
    let mut data = data;
    let mode = byte(&mut data);
    let stream = Stream::ALL[usize::from(mode & 1)];
    let mut fields = Fields::new();
    while !data.is_empty() && fields.len() < 100 {
        let name = until(&mut data, 0).to_vec();
        fields.insert(name, until(&mut data, 0).to_vec());
    }
    let key = HmacKey::from_hex(&hex::encode(KEY)).unwrap();
    if mode & 2 != 0 {
        key.sign(stream, &mut fields);
    }
    if mode & 4 != 0
        && let Some(signature) = fields.get_mut(&b"_sig"[..])
        && let Some(first) = signature.first_mut()
    {
        *first ^= mode >> 3;
    }
    let payload = dead_payload(&fields);
    assert!(payload.len() <= 64 * 6 * 2 * 4200, "{}", payload.len());
    assert!(serde_json::from_str::<serde_json::Value>(&payload).is_ok());

    let unsigned = Event::read(stream, &fields, None);
    holds(stream, &fields, &unsigned);
    let signed = Event::read(stream, &fields, Some(&key));
    if is_signed(stream, &fields) {
        assert_eq!(signed, unsigned);
    } else {
        assert_eq!(signed, Err(Refused::InvalidSignature));
    }
}

fn is_signed(stream: Stream, fields: &Fields) -> bool {
    let mut canonical = format!("{}\n", stream.key()).into_bytes();
    for (name, value) in fields.iter().filter(|(name, _)| *name != b"_sig") {
        canonical.extend([name, &b"="[..], value, b"\n"].concat());
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, &KEY);
    let expected = hex::encode(hmac::sign(&key, &canonical));
    fields.get(&b"_sig"[..]) == Some(&expected.into_bytes())
}

/// What the contract says of the fields, once more.
fn holds(stream: Stream, fields: &Fields, event: &Result<Event, Refused>) {
    let text = |name: &str| {
        let value = String::from_utf8(fields.get(name.as_bytes())?.clone()).ok()?;
        (!value.is_empty()).then_some(value)
    };
    match stream {
        Stream::Revocations => {
            let names = "session_id sid root_sid agent_session_id delegation_edge_id edge_id";
            let mut expected: Vec<String> = names.split(' ').filter_map(text).collect();
            expected.retain(|anchor| anchor.len() <= MAX_ANCHOR_BYTES);
            let mut seen = std::collections::BTreeSet::new();
            expected.retain(|anchor| seen.insert(anchor.clone()));
            match event {
                Ok(Event::Revoked(anchors)) => assert_eq!(*anchors, expected),
                other => {
                    assert_eq!(*other, Err(Refused::MissingRevocationAnchor));
                    assert!(expected.is_empty());
                }
            }
        }
        Stream::Delegations => match event {
            Ok(Event::Epoch { zone, epoch }) => {
                assert_eq!(text("zone_id").as_ref(), Some(zone));
                let written = text("epoch").unwrap();
                assert!(written.len() <= 19);
                let digits = written.trim_start_matches('0');
                assert_eq!(
                    if digits.is_empty() { "0" } else { digits },
                    epoch.to_string()
                );
                assert!(*epoch < 1 << 63);
            }
            other => assert_eq!(*other, Err(Refused::InvalidDelegationEpoch)),
        },
    }
}
