//! Searches for what is dear: `make worst`. Inputs of each kind are changed at random,
//! and the dearest are kept and changed further. Ends with an error when a path costs
//! more than twice a plain refusal. What is found is left in run/worst.
//!
//! What is dearer than what tests/suites/worst has belongs there: `cp run/worst/*
//! tests/suites/worst`.
//!
//! `WORST_SECONDS` is the time in all, `WORST_KIND` the one kind to search, `WORST_SEED`
//! repeats a search; `KIND FILE` as arguments measures one input.

mod words;

use std::time::{Duration, Instant};

use caracal_tests::hostile::{Kind, Meter};
use caracal_tests::root;

use words::{seeds, words};

/// Inputs that are changed further, for each of the two aims.
const POOL: usize = 24;

/// Any generator does: what counts is that a seed repeats a search.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end.max(1)
    }

    fn one<'t, T: ?Sized>(&mut self, of: &[&'t T]) -> &'t T {
        of[self.below(of.len())]
    }
}

fn change(random: &mut Random, kind: Kind, pool: &[Found]) -> Vec<u8> {
    let mut input = pool[random.below(pool.len())].input.clone();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let end = (at + 1 + random.below(40)).min(input.len()).max(at);
        match random.below(6) {
            0 | 1 => {
                let word = random.one(words(kind)).repeat(1 + random.below(3));
                input.splice(at..at, word.into_bytes());
            }
            2 => drop(input.drain(at..end)),
            3 => {
                let times = 1 + random.below(30);
                let part = input[at..end].repeat(times);
                input.splice(at..at, part);
            }
            4 => {
                let other = &pool[random.below(pool.len())].input;
                let cut = random.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[cut..]);
            }
            _ => {
                let word = random.one(words(kind)).as_bytes();
                let end = (at + word.len()).min(input.len()).max(at);
                input.splice(at..end, word.iter().copied());
            }
        }
    }
    if kind == Kind::Path && input.first() != Some(&b'/') {
        input.insert(0, b'/');
    }
    // The strings above, and no half of a character.
    let mut input = String::from_utf8_lossy(&input)
        .replace('\u{fffd}', "")
        .into_bytes();
    if kind != Kind::Headers {
        input.retain(|b| !matches!(b, b'\r' | b'\n' | 0));
    }
    input.truncate(kind.longest());
    input
}

#[derive(Clone)]
struct Found {
    units: u64,
    input: Vec<u8>,
}

impl Found {
    /// Units beyond a plain request's, for each byte.
    fn rate(&self, plain: u64) -> f64 {
        self.units.saturating_sub(plain) as f64 / self.input.len().max(64) as f64
    }
}

/// The dearest of all, and the dearest for their length.
fn search(meter: &mut Meter, kind: Kind, seconds: f64, seed: u64) -> (Found, Found, u64) {
    let plain = meter.plain();
    let mut random = Random(seed);
    let mut measure = |input: Vec<u8>, dearest: &dyn Fn(&Found) -> bool| {
        let units = meter.work(kind, &input);
        let mut found = Found { units, input };
        if dearest(&found) {
            // Once in a while a request also pays for what many have left behind, like
            // a table that is full: nobody can aim at that.
            found.units = found.units.min(meter.work(kind, &found.input));
        }
        found
    };
    let mut pools: [Vec<Found>; 2] = Default::default();
    for seed in seeds(kind) {
        let found = measure(seed, &|_| true);
        pools.iter_mut().for_each(|pool| pool.push(found.clone()));
    }
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let mut tried = 0;
    while Instant::now() < until {
        let from = random.below(2);
        let input = change(&mut random, kind, &pools[from]);
        let dearest = |found: &Found| {
            let [cost, rate] = &pools;
            found.units > cost[0].units || found.rate(plain) > rate[0].rate(plain)
        };
        let found = measure(input, &dearest);
        tried += 1;
        for (aim, pool) in pools.iter_mut().enumerate() {
            if pool.iter().any(|one| one.input == found.input) {
                continue;
            }
            pool.push(found.clone());
            let score = |one: &Found| match aim {
                0 => one.units as f64,
                _ => one.rate(plain),
            };
            pool.sort_by(|a, b| score(b).total_cmp(&score(a)));
            pool.truncate(POOL);
        }
    }
    let [cost, rate] = pools;
    (cost[0].clone(), rate[0].clone(), tried)
}

fn main() {
    let mut meter = Meter::envoy();
    let plain = meter.plain();
    println!("a plain refusal: {plain} units of work");
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    if let [name, file] = arguments.as_slice() {
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        let input = std::fs::read(file).unwrap();
        for input in input.split(|b| *b == b'\n') {
            let units = meter.work(kind.unwrap(), input);
            println!("{units} units, {} bytes", input.len());
        }
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let seed = number("WORST_SEED").unwrap_or_else(|| u64::from(std::process::id()) | 1);
    println!("WORST_SEED={seed}");
    let folder = root().join("run/worst");
    std::fs::create_dir_all(&folder).unwrap();
    let mut is_bound = true;
    let only = std::env::var("WORST_KIND").ok();
    let mut kinds = Kind::ALL.to_vec();
    kinds.retain(|kind| only.as_ref().is_none_or(|only| only == kind.name()));
    let seconds = number("WORST_SECONDS").unwrap_or(120) as f64 / kinds.len() as f64;
    for kind in kinds {
        let (cost, rate, tried) = search(&mut meter, kind, seconds, seed);
        for (aim, found) in [("dearest", &cost), ("dearest for its length", &rate)] {
            println!(
                "{}, {aim} of {tried}: {} units for {} bytes, {:.1} for each byte beyond a plain request's",
                kind.name(),
                found.units,
                found.input.len(),
                found.rate(plain),
            );
            let name = format!("{}-{aim}", kind.name()).replace(' ', "-");
            std::fs::write(folder.join(name), &found.input).unwrap();
        }
        if kind == Kind::Path {
            is_bound = cost.units <= 2 * plain;
        }
    }
    assert!(is_bound, "a path costs more than twice a plain refusal");
}
