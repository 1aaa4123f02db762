use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use prometheus::Registry;

use super::*;
use crate::audit::count::Counts;
use crate::audit::product::{Made, digest};
use crate::audit::record;

mod model;

static COUNT: AtomicUsize = AtomicUsize::new(0);
const MAX: u64 = 4 * 1024 * 1024;

/// A folder that ends with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("caracal-queue-{}-{count}", std::process::id());
        // A disk in memory, where there is one: thousands of fsyncs take minutes on another.
        let memory = PathBuf::from("/dev/shm");
        let base = Some(memory).filter(|memory| memory.is_dir());
        let path = base.unwrap_or_else(std::env::temp_dir).join(name);
        let _ = fs::remove_dir_all(&path);
        Scratch(path)
    }

    fn open(&self) -> (Tail, Head) {
        let (tail, head, _) = self.open_all();
        (tail, head)
    }

    fn open_all(&self) -> (Tail, Head, Vec<(u128, u64)>) {
        let counts = Counts::new(&Registry::new()).unwrap();
        let opened = open(&self.0, MAX, 1_000, counts).unwrap();
        (opened.tail, opened.head, opened.ids)
    }

    fn files(&self, kind: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut found: Vec<_> = paths
            .filter(|path| path.extension().is_some_and(|e| e == kind))
            .collect();
        found.sort();
        found
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn made(number: usize, size: usize) -> Made {
    Made {
        id: number as u128,
        request_id: "r".into(),
        denied: false,
        data: format!("{{\"n\":{number},\"x\":\"{}\"}}", "x".repeat(size)).into(),
        sig: if number.is_multiple_of(3) {
            "".into()
        } else {
            "ab".repeat(32).into()
        },
    }
}

fn records(events: &[Made]) -> Vec<u8> {
    let mut bytes = Vec::new();
    events
        .iter()
        .for_each(|made| record::write(made, 7, &mut bytes));
    bytes
}

fn append(tail: &mut Tail, events: &[Made]) {
    tail.append(&records(events), events.len() as u64, 7)
        .unwrap();
}

fn number(data: &[u8]) -> usize {
    let event: serde_json::Value = serde_json::from_slice(data).unwrap();
    event["n"].as_u64().unwrap() as usize
}

/// Delivers everything; the numbers of the events.
fn drained(head: &mut Head) -> Vec<usize> {
    let mut all = Vec::new();
    loop {
        let batch = head.next().unwrap();
        if batch.events.is_empty() {
            return all;
        }
        all.extend(batch.events.iter().map(|(data, _)| number(data)));
        head.delivered(&batch);
    }
}

#[test]
fn what_is_appended_is_delivered_in_order_and_once() {
    let scratch = Scratch::new();
    let (mut tail, mut head) = scratch.open();
    assert!(head.next().unwrap().events.is_empty());
    let events: Vec<Made> = (0..2_000).map(|n| made(n, n)).collect();
    for some in events.chunks(30) {
        append(&mut tail, some);
    }
    let batch = head.next().unwrap();
    for (event, (data, sig)) in events.iter().zip(&batch.events) {
        assert_eq!(
            (event.data.as_bytes(), event.sig.as_bytes()),
            (&data[..], &sig[..])
        );
    }
    assert_eq!(drained(&mut head), (0..2_000).collect::<Vec<_>>());
    assert_eq!(head.shared.state().waiting, 0);
    // What is delivered makes room.
    assert!(scratch.files("audit").len() <= 2);
    append(&mut tail, &[made(2_000, 1)]);
    head.note();
    drop((tail, head));
    let (_tail, mut head, ids) = scratch.open_all();
    assert_eq!(head.shared.state().waiting, 1);
    let last = digest(made(2_000, 1).data.as_bytes());
    assert_eq!(ids.last(), Some(&(2_000, last)));
    assert_eq!(drained(&mut head), [2_000]);
}

#[test]
fn nobody_else_gets_in() {
    let scratch = Scratch::new();
    let (mut tail, mut head) = scratch.open();
    let counts = Counts::new(&Registry::new()).unwrap();
    let second = open(&scratch.0, MAX, 1_000, counts).err().unwrap();
    assert!(
        second.to_string().contains("another companion's"),
        "{second}"
    );
    append(&mut tail, &[made(1, 1)]);
    assert_eq!(drained(&mut head), [1]);
    head.note();
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&scratch.0), 0o700);
    for entry in fs::read_dir(&scratch.0).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    drop((tail, head));
    scratch.open();
}

#[test]
fn a_folder_that_others_can_write_is_not_used() {
    let scratch = Scratch::new();
    let mode = |mode: u32| {
        fs::set_permissions(&scratch.0, fs::Permissions::from_mode(mode)).unwrap();
        let counts = Counts::new(&Registry::new()).unwrap();
        let opened = open(&scratch.0, MAX, 1_000, counts);
        opened.map(drop).map_err(|error| error.to_string())
    };
    fs::create_dir(&scratch.0).unwrap();
    for writable in [0o777, 0o1777, 0o770, 0o702, 0o720] {
        let why = mode(writable).unwrap_err();
        assert!(why.contains("chmod 700"), "{writable:o}: {why}");
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 0);
    }
    for private in [0o755, 0o700] {
        mode(private).unwrap();
    }
}

#[test]
fn folders_above_it_are_made_too() {
    let scratch = Scratch::new();
    let below = Scratch(scratch.0.join("a/b"));
    let (mut tail, mut head) = below.open();
    append(&mut tail, &[made(1, 1)]);
    assert_eq!(drained(&mut head), [1]);
    for path in [&scratch.0, &scratch.0.join("a"), &below.0] {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", path.display());
    }
}

#[test]
fn the_space_is_bounded_and_what_was_set_aside_counts() {
    let scratch = Scratch::new();
    let (mut tail, mut head) = scratch.open();
    let event = [made(1, 60_000)];
    let size = records(&event).len() as u64;
    let mut count = 0;
    while tail.has_room(size) {
        append(&mut tail, &event);
        count += 1;
    }
    assert_eq!(count, MAX / size);
    assert_eq!(drained(&mut head).len() as u64, count);
    assert!(tail.has_room(MAX / 2));
    drop((tail, head));
    let aside = scratch.0.join("00000000000000000001.corrupt");
    fs::File::create(&aside).unwrap().set_len(MAX).unwrap();
    let (mut tail, mut head) = scratch.open();
    assert!(!tail.has_room(1));
    // Somebody removes it while the companion runs.
    fs::remove_file(aside).unwrap();
    let since = Instant::now();
    while !tail.has_room(1) {
        assert!(since.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(50));
    }
    append(&mut tail, &[made(2, 1)]);
    assert_eq!(drained(&mut head).last(), Some(&2));
}

/// A crash before the acknowledgement: nothing that was acknowledged is lost.
#[test]
fn a_torn_end_is_cut_off() {
    let torn = records(&[made(2, 100), made(3, 100)]);
    for end in 0..torn.len() {
        let scratch = Scratch::new();
        let (mut tail, head) = scratch.open();
        append(&mut tail, &[made(0, 10), made(1, 10)]);
        drop((tail, head));
        let file = scratch.files("audit").pop().unwrap();
        let mut bytes = fs::read(&file).unwrap();
        let whole = bytes.len();
        bytes.extend_from_slice(&torn[..end]);
        fs::write(&file, &bytes).unwrap();
        let (mut tail, mut head) = scratch.open();
        let kept = fs::metadata(&file).unwrap().len() as usize;
        let second = records(&[made(2, 100)]).len();
        assert_eq!(
            kept,
            whole + if end >= second { second } else { 0 },
            "{end}"
        );
        append(&mut tail, &[made(9, 10)]);
        let expected: &[usize] = if end >= second {
            &[0, 1, 2, 9]
        } else {
            &[0, 1, 9]
        };
        assert_eq!(drained(&mut head), expected, "{end}");
        assert!(scratch.files("corrupt").is_empty());
    }
}

#[test]
fn damage_in_the_middle_is_passed_over_and_kept() {
    let scratch = Scratch::new();
    let (mut tail, head) = scratch.open();
    append(&mut tail, &(0..5).map(|n| made(n, 50)).collect::<Vec<_>>());
    drop((tail, head));
    let file = scratch.files("audit").pop().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let at = records(&[made(0, 50), made(1, 50)]).len() + 60;
    bytes[at] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let (mut tail, mut head) = scratch.open();
    append(&mut tail, &[made(5, 50)]);
    assert_eq!(drained(&mut head), [0, 1, 3, 4, 5]);
    let kept = scratch.files("corrupt");
    assert_eq!(fs::read(&kept[0]).unwrap(), bytes);
    assert_eq!(head.shared.state().aside, bytes.len() as u64);
    head.note();
    drop((tail, head));
    // It is not read again, and its number is not given again.
    let (mut tail, mut head) = scratch.open();
    append(&mut tail, &[made(6, 50)]);
    assert_eq!(drained(&mut head), [6]);
    assert_eq!(scratch.files("corrupt"), kept);
}

#[test]
fn a_file_that_is_cut_or_taken_away_stops_nothing() {
    for take in [false, true] {
        let scratch = Scratch::new();
        let (mut tail, mut head) = scratch.open();
        for n in 0..20 {
            append(&mut tail, &[made(n, 60_000)]);
        }
        let first = scratch.files("audit").remove(0);
        if take {
            fs::remove_file(&first).unwrap();
        } else {
            let file = fs::File::options().write(true).open(&first).unwrap();
            file.set_len(100).unwrap();
        }
        let left = drained(&mut head);
        assert!(
            !left.is_empty() && left.len() < 20 && left.last() == Some(&19),
            "{left:?}"
        );
        assert_eq!(head.shared.state().waiting, 0);
        append(&mut tail, &[made(20, 1)]);
        assert_eq!(drained(&mut head), [20]);
    }
}

#[test]
fn without_a_note_everything_is_delivered_again() {
    let scratch = Scratch::new();
    let (mut tail, mut head) = scratch.open();
    append(&mut tail, &[made(0, 1), made(1, 1)]);
    assert_eq!(drained(&mut head), [0, 1]);
    head.note();
    drop((tail, head));
    fs::write(scratch.0.join("cursor"), "1 99 deadbeef").unwrap();
    let (_tail, mut head) = scratch.open();
    assert_eq!(drained(&mut head), [0, 1]);
}
