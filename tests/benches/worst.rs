//! Searches for what is dear: `make worst`. Inputs of each kind are changed at random,
//! and the dearest are kept and changed further. Ends with an error when a path costs
//! more than twice a plain refusal. What is found is left in run/worst.
//!
//! What is dearer than what tests/suites/worst has belongs there: `cp run/worst/*
//! tests/suites/worst`.
//!
//! `WORST_SECONDS` is the time in all, `WORST_KIND` the one kind to search, `WORST_SEED`
//! repeats a search; `KIND FILE` as arguments measures one input.

use std::time::{Duration, Instant};

use caracal_tests::hostile::{Kind, Meter};
use caracal_tests::root;

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

fn words(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Path => &[
            "/",
            "//",
            "/.",
            "/..",
            "/../",
            ".",
            "..",
            "\\",
            ";",
            ";a=1",
            "%2e",
            "%2E",
            "%2f",
            "%5c",
            "%3b",
            "%25",
            "%252e",
            "%252f",
            "%255c",
            "%41",
            "%2541",
            "%20",
            "%09",
            "%0a",
            "%0d",
            "%3f",
            "%23",
            "%2523",
            "%c3%a9",
            "%e6%b0%b4",
            "%ef%bc%8e",
            "%ef%bc%8f",
            "%ef%bc%85",
            "%e2%80%a5",
            "%25ef%25bc%258e",
            "．",
            "／",
            "％",
            "é",
            "水",
            "a",
            "ab",
            "abcdefgh",
            "/a/b/c",
            "/payouts",
            "/payouts/",
            "/payouts.",
            "/payouts/admin",
            "/healthz",
            "?",
            " ",
            "-",
            "~",
            "a.b",
            "%00",
            "%zz",
            "%",
        ],
        Kind::Headers => &[
            "\n",
            "\nx:",
            "\nconnection:",
            "\nbaggage:",
            "\nauthorization:",
            "\nauthorization: Bearer ",
            "\nx-caracal-sub: a",
            "\nx_caracal.sub: a",
            "\nx-caracal-",
            "\nx-caracal-resource: a",
            "\nhost: a",
            "\ncontent-type: application/grpc",
            "\ncookie: a=b",
            ",",
            " ,",
            "close",
            "upgrade",
            "x-caracal-",
            "x-caracalx",
            "caracal.a=1",
            "caracal.",
            "a=1",
            "\t",
            " ",
            ".",
            "-",
            "_",
            "~",
            "Basic ",
            "Bearer",
            "aaaaaaaa",
            ":",
            ";",
        ],
        Kind::Baggage => &[
            ",",
            ",,",
            "caracal.",
            "caracal.a=1",
            "Caracal.zone=z",
            " caracal.",
            "\t",
            " ",
            "a=1",
            "a",
            ";p=1",
            "caracal",
            "=",
            "aaaaaaaa",
            "caracal.agent_session=as-1,",
        ],
        Kind::TokenHeader => &[
            "{",
            "}",
            "[",
            "]",
            ",",
            "\"",
            ":",
            "{}",
            "[]",
            "\"a\":",
            "\"a\":{",
            "\"a\":[",
            "{\"a\":",
            "\\u0061",
            "\\n",
            "\\\"",
            "1",
            "0",
            "1e9",
            "-1",
            "9999999999999999",
            "null",
            "true",
            "[[[[",
            "]]]]",
            "[1,1,1,1]",
            "\"b\":1,",
            "\"crit\":[]",
            "\"alg\":\"ES256\"",
            "\"kid\":\"k1\"",
            " ",
            "\t\n",
            "é",
            "水",
            "\\ud83d\\ude00",
        ],
        Kind::Claims => &[
            "\"scope\":\"a b c d\",",
            "\"target\":[\"a\",\"b\"],",
            "\"aud\":[\"a\"],",
            "\"delegation_chain\":[{\"application_id\":\"a\"}],",
            "{\"application_id\":\"a\"},",
            "\"delegation_path\":[\"a\"],",
            "\"sid\":\"s\",",
            "\"x\":{\"a\":[1,2,3]},",
            "\"y\":\"z\",",
            "[",
            "]",
            "{",
            "}",
            ",",
            "\"",
            "a ",
            " ",
            "\\u0061",
            "1",
            "null",
            "[[[[",
            "]]]]",
            "\"a\",",
            "\"a\":1,",
        ],
        Kind::KeySet => &[
            "{\"kty\":\"EC\"},",
            "{\"kid\":\"a\"},",
            "{",
            "}",
            "[",
            "]",
            ",",
            "\"",
            ":",
            "\"a\":1,",
            "\"keys\":[",
            "{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES256\",\"kid\":\"k\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"},",
            "\\u0061",
            "[[[[",
            "]]]]",
            "1",
            "null",
            "\"key_ops\":[\"verify\"],",
            " ",
        ],
        Kind::Page => &[
            "{",
            "}",
            "[",
            "]",
            ",",
            "\"",
            ":",
            "{\"seq\":1,\"anchor\":\"a\",\"expires_in_ms\":1000},",
            "\"seq\":2,",
            "\"entries\":[",
            "\"head\":1,",
            "\"epoch\":1,",
            "\"a\":1,",
            "1",
            "null",
            "\\u0061",
            "[[[[",
            "]]]]",
            " ",
        ],
    }
}

fn seeds(kind: Kind) -> Vec<Vec<u8>> {
    let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let key = caracal_tests::mint::Key::new("k1", 1);
    let claims = caracal_tests::mint::claims(1_767_225_600, serde_json::json!({})).to_string();
    let all: Vec<String> = match kind {
        Kind::Path => vec![
            "/payouts/1".to_owned(),
            "/a;b/%2e\\//%252e/../".repeat(20),
            format!("/{}", "a".repeat(2_047)),
            format!("/{}", ".".repeat(2_047)),
            format!("/{}", "%41".repeat(600)),
            format!("/{}", "%2541".repeat(300)),
        ],
        Kind::Headers => vec![
            format!("connection:{}", "x-caracal,".repeat(500)),
            "x-caracal-a: b\n".repeat(90),
            (0..90).map(|n| format!("x-caracal-{n}: b\n")).collect(),
        ],
        Kind::Baggage => vec!["caracal.a=1,a=1,".repeat(500), ",".repeat(8_000)],
        Kind::TokenHeader => vec![
            r#"{"alg":"ES256","kid":"k1"}"#.to_owned(),
            // 29 levels of objects, many times.
            format!(
                r#"{{"alg":"ES256","kid":"k1","x":[{}]}}"#,
                vec![nested(29); 28].join(",")
            ),
            format!(
                r#"{{"alg":"ES256","kid":"k1","x":{}}}"#,
                (0..29).fold("1".to_owned(), |inner, _| format!(
                    "[{inner},{}]",
                    "1,".repeat(90) + "1"
                ))
            ),
        ],
        Kind::Claims => vec![
            claims.clone(),
            claims.replacen(
                '{',
                &format!("{{\"x\":[{}],", vec![nested(29); 25].join(",")),
                1,
            ),
            claims.replacen(
                '{',
                &format!("{{\"target\":[{}\"a\"],", "\"a\",".repeat(1_000)),
                1,
            ),
        ],
        Kind::KeySet => vec![
            caracal_tests::mint::key_set(&[&key]).to_string(),
            caracal_tests::mint::key_set(&vec![&key; 60]).to_string(),
        ],
        Kind::Page => {
            let companion = caracal_tests::companion::InProcess::default();
            for n in 0..100 {
                companion.revoke(&format!("anchor-{n}"));
            }
            let (_, page) = companion.get("/v1/snapshot?max=1000", None);
            vec![String::from_utf8(page).unwrap()]
        }
    };
    all.into_iter()
        .map(|seed| seed.into_bytes()[..].to_vec())
        .map(|mut seed| {
            seed.truncate(kind.longest());
            seed
        })
        .collect()
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
