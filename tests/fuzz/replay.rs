//! Every input of the committed corpora, and a fixed number of changed ones, put
//! to their targets: the same in every run, with a stable toolchain.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;

use caracal_fuzz::{TARGETS, Target};

/// Changed inputs for each target.
const CHANGED: usize = 10_000;
/// Largest input, in bytes.
const LARGEST: usize = 64 * 1024;

fn main() -> ExitCode {
    let results: Vec<bool> = std::thread::scope(|scope| {
        let running: Vec<_> = TARGETS
            .iter()
            .map(|target| scope.spawn(move || replay(*target)))
            .collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    if results.iter().all(|held| *held) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn replay((name, check): Target) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = read(&root.join("corpus").join(name));
    let dictionary: Vec<Vec<u8>> = fs::read_to_string(root.join("dictionary.txt"))
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'))
        .map(|word| word.as_bytes().to_vec())
        .collect();
    assert!(corpus.len() >= 10 && dictionary.len() >= 10, "{name}");
    let mut changes = Changes(0x9e37_79b9_7f4a_7c15);
    // The input itself is not printed: it can be a token.
    let holds = |what: &str, input: &[u8]| {
        let held = catch_unwind(AssertUnwindSafe(|| check(input))).is_ok();
        if !held {
            let file = std::env::temp_dir().join(format!("caracal-finding-{name}"));
            fs::write(&file, input).unwrap();
            println!("{name}: {what}: does not hold, see {}", file.display());
        }
        held
    };
    let mut all = true;
    for (file, input) in &corpus {
        all &= holds(file, input);
    }
    for number in 0..CHANGED {
        let mut input = corpus[changes.below(corpus.len())].1.clone();
        for _ in 0..=changes.below(4) {
            let other = &corpus[changes.below(corpus.len())].1;
            changes.change(&mut input, other, &dictionary);
        }
        input.truncate(LARGEST);
        all &= holds(&format!("change {number}"), &input);
    }
    println!(
        "replay {name}: {} inputs and {CHANGED} changed ones, {}",
        corpus.len(),
        if all { "ok" } else { "FAILED" }
    );
    all
}

/// The corpus by file name, in order.
fn read(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(folder).into_iter().flatten();
    let mut all: Vec<_> = files
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    all.sort();
    all
}

/// Changes that are the same in every run (splitmix64).
struct Changes(u64);

impl Changes {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn change(&mut self, input: &mut Vec<u8>, other: &[u8], dictionary: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let len = self.below(16).min(input.len() - at);
        match self.below(6) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.next() as u8,
            2 => drop(input.drain(at..at + len)),
            3 => {
                let copy = input[at..at + len].to_vec();
                input.splice(at..at, copy);
            }
            4 => {
                let from = self.below(other.len() + 1);
                let until = from + self.below(64).min(other.len() - from);
                input.splice(at..at, other[from..until].iter().copied());
            }
            _ => {
                let word = dictionary[self.below(dictionary.len())].clone();
                input.splice(at..at + len.min(word.len()), word);
            }
        }
    }
}
