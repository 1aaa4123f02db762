//! Shared data that others wrote, or that are old.

use caracal_mandate::shared_record::seal::TAG_BYTES;

use super::*;

/// Every value in shared data, made into something else under everybody's feet.
#[test]
fn shared_data_that_is_not_ours() {
    let (proxy, _) = started();
    let keys: Vec<Vec<u8>> = proxy.shared_data().keys().cloned().collect();
    assert!(keys.len() >= 4, "{}", keys.len());
    let mut runs = 0;
    for key in &keys {
        let (value, _) = proxy.shared_data()[key].clone();
        let mut others: Vec<(String, Vec<u8>)> = vec![
            ("empty".to_owned(), Vec::new()),
            ("another plugin's".to_owned(), br#"{"count": 7}"#.to_vec()),
            ("large".to_owned(), vec![0xff; 1 << 20]),
            ("another version".to_owned(), with_magic(&value, b"CRX9")),
            (
                "the next version".to_owned(),
                [&value[..], &[0; 8]].concat(),
            ),
        ];
        for (other, (value, _)) in proxy.shared_data().iter().filter(|(k, _)| *k != key) {
            others.push((
                format!("the value of {}", other.escape_ascii()),
                value.clone(),
            ));
        }
        let size = value.len().min(400);
        for at in (0..size).step_by(7) {
            others.push((format!("cut at {at}"), value[..at].to_vec()));
            let mut flipped = value.clone();
            flipped[at] ^= 1 << (at % 8);
            others.push((format!("with a bit of byte {at} turned"), flipped));
        }
        // Another plugin makes the checksum, and has no better tag than the one that was there.
        let (own, tag) = value.split_at(value.len() - TAG_BYTES);
        for at in (0..size.saturating_sub(16 + TAG_BYTES)).step_by(8) {
            let mut numbers = own[..own.len() - 4].to_vec();
            numbers[4 + at..12 + at].fill(if at % 16 == 0 { 0xff } else { 0x7f });
            let summed = [&with_sum(numbers), tag].concat();
            others.push((format!("with another number at {at}"), summed));
        }
        for (what, bytes) in others {
            runs += 1;
            let what = format!("{}: {what}", key.escape_ascii());
            let (mut proxy, _) = started();
            proxy.set_shared(key, &bytes);
            let mut sent = Sent::default();
            sent.send(&mut proxy);
            proxy.advance(SOON);
            proxy.restart_worker(1).unwrap();
            sent.send(&mut proxy);
            proxy.advance(SOON);
            sent.check(&proxy, &what);
            no_vm_is_dead(&proxy, &what);
        }
    }
    println!("{runs} values that are not ours");
}

/// Values of a former time come back: a proxy's snapshot, say.
#[test]
fn shared_data_that_is_old() {
    let edit = Edit::default();
    let mut proxy = edge(&edit).start().unwrap();
    let mut moments = Vec::new();
    for _ in 0..40 {
        proxy.advance(10 * MS);
        moments.push(proxy.shared_data().clone());
    }
    for moment in moments.iter().step_by(3) {
        let mut sent = Sent::default();
        for (key, (value, _)) in moment {
            proxy.set_shared(key, value);
            sent.send(&mut proxy);
            proxy.advance(20 * MS);
        }
        sent.check(&proxy, "old data");
        no_vm_is_dead(&proxy, "old data");
    }
    proxy.advance(WELL);
    is_well(&mut proxy, "old data");
}

fn with_magic(value: &[u8], magic: &[u8; 4]) -> Vec<u8> {
    let (own, tag) = value.split_at(value.len() - TAG_BYTES);
    [&with_sum([magic, &own[4..own.len() - 4]].concat()), tag].concat()
}

fn with_sum(mut body: Vec<u8>) -> Vec<u8> {
    let sum = crc32fast::hash(&body);
    body.extend(sum.to_le_bytes());
    body
}
