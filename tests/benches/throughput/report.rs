//! What comes of the measurements: the table, the ratios that the project
//! promises, and run/bench/throughput.json.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::wrk::Measured;

/// The two ways that each load takes: what is appended to an edge's name, and
/// the path that is asked for.
pub const WAYS: [(&str, &str); 2] = [("", "/direct"), ("+upstream", "/")];

/// What was measured, by edge and load.
#[derive(Default)]
pub struct Figures(BTreeMap<(String, &'static str), Vec<Measured>>);

/// The figures of one edge under one load.
pub struct Row {
    pub edge: String,
    pub load: &'static str,
    pub median: f64,
    pub least: f64,
    pub most: f64,
    cpu_us: f64,
}

/// One figure in terms of another, and what it should be.
struct Ratio {
    what: String,
    ratio: f64,
    promised: Option<String>,
}

type Side = (&'static str, &'static str);

/// Numerator, denominator and the promise.
const RATIOS: [(Side, Side, Option<f64>); 17] = [
    (("caracal", "warm"), ("noop", "warm"), Some(0.85)),
    (("caracal_bare", "warm"), ("noop", "warm"), Some(0.93)),
    (("calls_only", "warm"), ("noop", "warm"), None),
    (("caracal", "warm"), ("calls_only", "warm"), None),
    (("noop", "warm"), ("jwt_authn", "warm"), Some(0.9)),
    (("caracal", "warm"), ("ext_authz", "warm"), Some(13.0)),
    (("caracal_1M", "warm"), ("caracal", "warm"), Some(0.97)),
    (
        ("caracal", "cold"),
        ("jwt_authn_uncached", "cold"),
        Some(1.0),
    ),
    (("caracal", "cold"), ("ext_authz", "cold"), Some(4.0)),
    (("caracal", "mix"), ("jwt_authn", "mix"), None),
    (("caracal", "no_token"), ("caracal", "warm"), Some(1.0)),
    (("caracal", "expired"), ("caracal", "warm"), Some(1.0)),
    (("caracal", "revoked"), ("caracal", "warm"), Some(1.0)),
    (("caracal", "bad_signature"), ("caracal", "cold"), Some(1.0)),
    (("caracal+2w", "warm"), ("noop+2w", "warm"), None),
    (("caracal+2w", "warm"), ("jwt_authn+2w", "warm"), None),
    (("caracal+2w", "warm"), ("caracal", "warm"), None),
];

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What a request may cost in processor time, in terms of another one.
const CPU_RATIOS: [(Side, Side, f64); 2] = [
    (
        ("caracal_audit", "warm_paced"),
        ("caracal", "warm_paced"),
        1.05,
    ),
    (
        ("caracal_audit", "cold_paced"),
        ("caracal", "cold_paced"),
        1.05,
    ),
];

impl Figures {
    pub fn add(&mut self, edge: String, load: &'static str, measured: Measured) {
        self.0.entry((edge, load)).or_default().push(measured);
    }

    pub fn rows(&self) -> Vec<Row> {
        let rows = self.0.iter().map(|((edge, load), all)| {
            let each = || all.iter().map(|m| m.per_second);
            Row {
                edge: edge.clone(),
                load,
                median: median(each().collect()),
                least: each().fold(f64::MAX, f64::min),
                most: each().fold(0.0, f64::max),
                cpu_us: median(all.iter().map(|m| m.cpu_us).collect()),
            }
        });
        rows.collect()
    }
}

/// Those ratios of which both sides were measured: of rates, then of processor time.
fn ratios(rows: &[Row]) -> Vec<Ratio> {
    let mut found = Vec::new();
    for (way, _) in WAYS {
        let row = |(edge, load): Side| {
            let name = format!("{edge}{way}");
            rows.iter().find(|r| r.edge == name && r.load == load)
        };
        let words =
            |of: Side, to: Side| format!("{}{way}/{} to {}{way}/{}", of.0, of.1, to.0, to.1);
        for (of, to, promised) in RATIOS {
            if let (Some(one), Some(other)) = (row(of), row(to)) {
                found.push(Ratio {
                    what: words(of, to),
                    ratio: one.median / other.median,
                    promised: promised.map(|least| format!("at least {least}")),
                });
            }
        }
        for (of, to, most) in CPU_RATIOS {
            if let (Some(one), Some(other)) = (row(of), row(to)) {
                found.push(Ratio {
                    what: format!("processor time, {}", words(of, to)),
                    ratio: one.cpu_us / other.cpu_us,
                    promised: Some(format!("at most {most}")),
                });
            }
        }
    }
    found
}

/// Prints rows and ratios; the document with all of it, and what else is known.
pub fn report(rows: &[Row], about: Value) -> Value {
    println!(
        "{:<30} {:>14} {:>10} {:>8} {:>8} {:>10}",
        "edge", "load", "median/s", "least", "most", "CPU us"
    );
    let mut figures = Vec::new();
    for row in rows {
        let Row {
            edge,
            load,
            median,
            least,
            most,
            cpu_us,
        } = row;
        println!("{edge:<30} {load:>14} {median:>10.0} {least:>8.0} {most:>8.0} {cpu_us:>10.1}");
        figures.push(json!({"edge": edge, "load": load, "per_second": median, "least": least, "most": most, "cpu_us": cpu_us}));
    }
    let mut all = Vec::new();
    for Ratio {
        what,
        ratio,
        promised,
    } in ratios(rows)
    {
        let promise = promised
            .as_ref()
            .map_or(String::new(), |promise| format!(" (promised: {promise})"));
        println!("{what}: {ratio:.2}{promise}");
        all.push(json!({"what": what, "ratio": ratio, "promised": promised}));
    }
    let mut document = about;
    document["figures"] = figures.into();
    document["ratios"] = all.into();
    document
}
