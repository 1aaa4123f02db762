//! Requests a second through one Envoy worker, side by side: no filter, a filter
//! that does nothing, Envoy's own `jwt_authn`, and this one. Interleaved rounds,
//! medians and ratios; the machine only has to stay as busy as it is.
//!
//! The Envoy that is measured has one core, everything else the other.
//! `BENCH_ROUNDS` (7), `BENCH_SECONDS` (2), `BENCH_ONLY` and `BENCH_LOADS` (lists
//! with commas) choose; the figures are left in run/bench/throughput.json.

mod edges;
mod wrk;

use std::collections::BTreeMap;

use caracal_tests::mint::{Key, now};
use serde_json::{Value, json};

use edges::Edges;
use wrk::{Load, Measured};

/// What is measured, and where the result stands.
type Figures = BTreeMap<(String, &'static str), Vec<Measured>>;

/// Mandates that live at the same time in the mixed load.
const LIVE: usize = 10_000;
/// New mandates for each measurement of a cold edge: more than it can take.
const FRESH: usize = 40_000;

fn chosen(name: &str, of: &str) -> bool {
    std::env::var(name).map_or(true, |list| list.split(',').any(|one| one == of))
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |n| n.parse().expect("a number"))
}

/// Mandates of one key, minted on both cores.
fn mandates(key: &Key, kind: &str, count: usize) -> Vec<String> {
    let made = |half: usize| {
        let numbers = (0..count).filter(|n| n % 2 == half);
        let mandate = |n| {
            key.mandate(
                now(),
                json!({"jti": format!("{kind}-{n}"), "exp": now() + 3_600}),
            )
        };
        numbers.map(mandate).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| made(1));
        let mut all = made(0);
        all.extend(other.join().unwrap());
        all
    })
}

/// 1/rank of each mandate, drawn with a fixed seed.
fn zipf(tokens: &[String], draws: usize) -> Vec<String> {
    let sums: Vec<f64> = (1..=tokens.len())
        .scan(0.0, |sum, rank| {
            *sum += 1.0 / rank as f64;
            Some(*sum)
        })
        .collect();
    let mut seed = 88_172_645_463_325_252_u64;
    let mut draw = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let at = (seed >> 11) as f64 / (1_u64 << 53) as f64 * sums[sums.len() - 1];
        tokens[sums.partition_point(|sum| *sum < at).min(tokens.len() - 1)].clone()
    };
    (0..draws).map(|_| draw()).collect()
}

fn flipped(token: &String) -> String {
    let at = token.len() - 20;
    let other = if &token[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &token[..at], &token[at + 1..])
}

fn loads(edges: &Edges, round: u64) -> Vec<(&'static str, Load, &'static str)> {
    let key = &edges.key;
    let one = |claims: Value| vec![key.mandate(now(), claims)];
    let all = "none,noop,jwt_authn,jwt_authn_uncached,caracal,caracal_bare";
    let mut loads = vec![("warm", Load::of(one(json!({})), 200), all)];
    if chosen("BENCH_LOADS", "cold") {
        let fresh = mandates(key, &format!("cold-{round}"), FRESH);
        loads.push(("cold", Load::of(fresh, 200), "jwt_authn_uncached,caracal"));
    }
    if chosen("BENCH_LOADS", "bad_signature") {
        let bad = mandates(key, &format!("bad-{round}"), FRESH)
            .iter()
            .map(flipped)
            .collect();
        loads.push((
            "bad_signature",
            Load::of(bad, 401),
            "jwt_authn_uncached,caracal",
        ));
    }
    if chosen("BENCH_LOADS", "mix") {
        let mix = zipf(&mandates(key, "live", LIVE), FRESH);
        loads.push(("mix", Load::of(mix, 200), "noop,jwt_authn,caracal"));
    }
    loads.push(("no_token", Load::without_token(401), "jwt_authn,caracal"));
    let expired = one(json!({"exp": now() - 600, "iat": now() - 1_200}));
    loads.push(("expired", Load::of(expired, 401), "caracal"));
    let revoked = one(json!({"sid": edges::REVOKED}));
    loads.push(("revoked", Load::of(revoked, 401), "caracal"));
    loads
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn rate(figures: &Figures, edge: &str, load: &'static str) -> Option<f64> {
    let all = figures.get(&(edge.to_owned(), load))?;
    Some(median(all.iter().map(|m| m.per_second).collect()))
}

/// The ratios that the project promises, where both sides were measured.
fn ratios(figures: &Figures, by: &str) -> Vec<(String, f64, f64)> {
    let at = |edge: &str| format!("{edge}{by}");
    let promised: [(&str, &'static str, &str, &'static str, f64); 9] = [
        ("caracal", "warm", "noop", "warm", 0.85),
        ("caracal_bare", "warm", "noop", "warm", 0.93),
        ("noop", "warm", "jwt_authn", "warm", 0.9),
        ("caracal", "cold", "jwt_authn_uncached", "cold", 1.0),
        ("caracal", "mix", "jwt_authn", "mix", 0.0),
        ("caracal", "no_token", "caracal", "warm", 1.0),
        ("caracal", "expired", "caracal", "warm", 1.0),
        ("caracal", "revoked", "caracal", "warm", 1.0),
        ("caracal", "bad_signature", "caracal", "cold", 1.0),
    ];
    let found = promised
        .into_iter()
        .filter_map(|(edge, load, than, its, least)| {
            let ratio = rate(figures, &at(edge), load)? / rate(figures, &at(than), its)?;
            Some((
                format!("{}/{load} to {}/{its}", at(edge), at(than)),
                ratio,
                least,
            ))
        });
    found.collect()
}

fn main() {
    let (rounds, seconds) = (number("BENCH_ROUNDS", 7), number("BENCH_SECONDS", 2));
    let edges = Edges::start(|edge| chosen("BENCH_ONLY", edge));
    let size = std::fs::metadata(edges::filter()).unwrap().len();
    println!(
        "{rounds} rounds of {seconds} s, one worker on core 0, clients and upstream on core 1, the filter {} KiB",
        size / 1024
    );
    let mut figures = Figures::new();
    for round in 0..rounds {
        for (load_name, load, of) in loads(&edges, round) {
            if !chosen("BENCH_LOADS", load_name) {
                continue;
            }
            for edge in edges.all() {
                if of.split(',').any(|name| name == edge.name) {
                    for (by, path) in [("", "/direct"), ("+upstream", "/")] {
                        let measured = load.send(edge, path, seconds);
                        figures
                            .entry((format!("{}{by}", edge.name), load_name))
                            .or_default()
                            .push(measured);
                    }
                }
            }
        }
    }
    let mut rows = Vec::new();
    println!(
        "{:<30} {:>14} {:>10} {:>8} {:>8} {:>10}",
        "edge", "load", "median/s", "least", "most", "CPU us"
    );
    for ((edge, load), all) in &figures {
        let each = all.iter().map(|m| m.per_second);
        let (least, most) = (
            each.clone().fold(f64::MAX, f64::min),
            each.clone().fold(0.0, f64::max),
        );
        let (median_rate, cpu) = (
            median(each.collect()),
            median(all.iter().map(|m| m.cpu_us).collect()),
        );
        println!("{edge:<30} {load:>14} {median_rate:>10.0} {least:>8.0} {most:>8.0} {cpu:>10.1}");
        rows.push(json!({"edge": edge, "load": load, "per_second": median_rate, "least": least, "most": most, "cpu_us": cpu}));
    }
    let mut promised = Vec::new();
    for by in ["", "+upstream"] {
        for (what, ratio, least) in ratios(&figures, by) {
            println!("{what}: {ratio:.2} (promised: {least})");
            promised.push(json!({"what": what, "ratio": ratio, "promised": least}));
        }
    }
    let folder = caracal_tests::root().join("run/bench");
    std::fs::create_dir_all(&folder).unwrap();
    let result = json!({"rounds": rounds, "seconds": seconds, "filter_bytes": size, "figures": rows, "ratios": promised});
    std::fs::write(folder.join("throughput.json"), format!("{result:#}\n")).unwrap();
}
