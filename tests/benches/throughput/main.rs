//! Requests a second through one Envoy worker, side by side: no filter, a filter
//! that does nothing, one that only makes the host calls of a warm request, Envoy's own `jwt_authn`, a service behind the published
//! connector that is asked by `ext_authz`, and this filter; with a million
//! revocations too, and some of them with two workers. Interleaved rounds, medians
//! and ratios; the machine only has to stay as busy as it is.
//!
//! The Envoy that is measured has one core, everything else the other; one with two
//! workers shares both with its clients. The processor time is the Envoy's alone.
//! `BENCH_ROUNDS` (7), `BENCH_SECONDS` (2), `BENCH_ONLY` and `BENCH_LOADS` (lists
//! with commas) choose, `BENCH_BUILDS` (`NAME=FILE`) names other builds of the filter
//! to measure beside it; the figures are left in run/bench/throughput.json, with
//! what each Envoy was configured to, and drawn in throughput.svg.

mod bootstrap;
mod connector;
mod edges;
mod loads;
mod picture;
mod report;
mod wrk;

use serde_json::json;

use edges::Edges;
use report::{Figures, WAYS};

fn chosen(name: &str, of: &str) -> bool {
    std::env::var(name).map_or(true, |list| list.split(',').any(|one| one == of))
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |n| n.parse().expect("a number"))
}

fn main() {
    let (rounds, seconds) = (number("BENCH_ROUNDS", 7), number("BENCH_SECONDS", 2));
    let edges = Edges::start(|edge| chosen("BENCH_ONLY", edge));
    let size = std::fs::metadata(edges::filter()).unwrap().len();
    println!(
        "{rounds} rounds of {seconds} s, one worker on core 0, clients and upstream on core 1, the filter {} KiB",
        size / 1024
    );
    println!("+2w: two workers on both cores, which they share with clients and upstream");
    let mut figures = Figures::default();
    for round in 0..rounds {
        for planned in loads::of_round(&edges.key, round, seconds) {
            for edge in edges.all().iter().filter(|e| planned.is_for(e.name)) {
                for (n, (way, path)) in WAYS.into_iter().enumerate() {
                    let part = (n, WAYS.len());
                    let measured = planned.load.send(edge, path, part, seconds);
                    figures.add(format!("{}{way}", edge.name), planned.name, measured);
                }
            }
        }
    }
    let rows = figures.rows();
    let about = json!({
        "rounds": rounds, "seconds": seconds, "filter_bytes": size,
        "configurations": edges.configurations(),
    });
    let document = report::report(&rows, about);
    let folder = caracal_tests::root().join("run/bench");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("throughput.json"), format!("{document:#}\n")).unwrap();
    picture::draw(&rows, &folder.join("throughput.svg"));
}
