//! The queue under random faults, compared with what was sent.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

/// What the model knows of an event that was acknowledged.
struct Sent {
    file: String,
    place: std::ops::Range<usize>,
    damaged: bool,
    delivered: bool,
}

/// Random appends, deliveries, crashes and damage: what was acknowledged and not damaged is
/// delivered at least once, in order and byte for byte, and nothing else is.
#[test]
fn under_random_faults_nothing_that_was_acknowledged_is_lost() {
    for seed in 0..150 {
        let mut random = StdRng::seed_from_u64(seed);
        let scratch = Scratch::new();
        let mut ends = Some(scratch.open());
        let (mut sent, mut events): (Vec<Option<Sent>>, Vec<Made>) = (Vec::new(), Vec::new());
        let mut last: Option<usize> = None;
        for step in 0..60 {
            let end = step == 59;
            let (tail, head) = ends.as_mut().unwrap();
            match if end { 9 } else { random.random_range(0..10) } {
                0..4 => {
                    let count = random.random_range(1..6);
                    let new: Vec<Made> = (0..count)
                        .map(|n| made(events.len() + n, random.random_range(0..40_000)))
                        .collect();
                    append(tail, &new);
                    let file = scratch.files("audit").pop().unwrap();
                    let mut at = fs::metadata(&file).unwrap().len() as usize - records(&new).len();
                    for made in new {
                        let size = record::size(&made) as usize;
                        sent.push(Some(Sent {
                            file: file.file_name().unwrap().to_str().unwrap().to_owned(),
                            place: at..at + size,
                            damaged: false,
                            delivered: false,
                        }));
                        events.push(made);
                        at += size;
                    }
                }
                4..7 => take(head, &mut sent, &events, &mut last, 1),
                7 => {
                    // Killed between the write and the acknowledgement, at any byte.
                    drop(ends.take());
                    let new = [made(events.len(), 500), made(events.len() + 1, 500)];
                    if let Some(file) = scratch.files("audit").pop() {
                        let mut bytes = fs::read(&file).unwrap();
                        let torn = records(&new);
                        bytes.extend_from_slice(&torn[..random.random_range(0..=torn.len())]);
                        fs::write(&file, bytes).unwrap();
                        for made in new {
                            sent.push(None);
                            events.push(made);
                        }
                    }
                    ends = Some(scratch.open());
                    last = None;
                }
                8 => {
                    // Damage on disk, found at a start or not before it is read.
                    let restart = random.random_bool(0.5);
                    if restart {
                        drop(ends.take());
                    }
                    let files = scratch.files("audit");
                    if !files.is_empty() {
                        let file = &files[random.random_range(0..files.len())];
                        damage(file, &mut sent, &mut random);
                    }
                    if restart {
                        ends = Some(scratch.open());
                        last = None;
                    }
                }
                _ => take(head, &mut sent, &events, &mut last, usize::MAX),
            }
        }
        for (n, sent) in sent.iter().enumerate() {
            let is_there = sent
                .as_ref()
                .is_none_or(|sent| sent.delivered || sent.damaged);
            assert!(is_there, "seed {seed}: event {n} is lost");
        }
    }
}

/// Flips a bit, or cuts the file.
fn damage(file: &PathBuf, sent: &mut [Option<Sent>], random: &mut StdRng) {
    let mut bytes = fs::read(file).unwrap();
    if bytes.is_empty() {
        return;
    }
    let at = random.random_range(0..bytes.len());
    let end = if random.random_bool(0.3) {
        bytes.truncate(at);
        usize::MAX
    } else {
        bytes[at] ^= 1 << random.random_range(0..8);
        at.saturating_add(1)
    };
    // In place: the queue may have the file open.
    let open = fs::File::options().write(true).open(file).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&open, &bytes, 0).unwrap();
    open.set_len(bytes.len() as u64).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    for sent in sent.iter_mut().flatten().filter(|sent| sent.file == name) {
        sent.damaged |= sent.place.start < end && at < sent.place.end;
    }
}

/// Delivers some batches, and judges them.
fn take(
    head: &mut Head,
    sent: &mut [Option<Sent>],
    events: &[Made],
    last: &mut Option<usize>,
    most: usize,
) {
    for _ in 0..most {
        let batch = head.next().unwrap();
        if batch.events.is_empty() {
            return;
        }
        for (data, sig) in &batch.events {
            let n = number(data);
            assert_eq!(
                (events[n].data.as_bytes(), events[n].sig.as_bytes()),
                (&data[..], &sig[..])
            );
            assert!(last.is_none_or(|last| last < n), "{n} after {last:?}");
            *last = Some(n);
            if let Some(sent) = &mut sent[n] {
                sent.delivered = true;
            }
        }
        head.delivered(&batch);
    }
}
