//! Reads the vectors (README.md beside this file) and compares what a runner
//! observed with what they expect. The runners are in `suites/`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

/// A file of vectors.
#[derive(Debug, Deserialize)]
pub struct File {
    pub format: u32,
    /// Wall clock of every case, in whole seconds.
    pub now: u64,
    pub configs: BTreeMap<String, Value>,
    pub key_sets: BTreeMap<String, KeySetAnswer>,
    /// What is revoked for every case; none where revocation is disabled.
    pub revocation: Option<Revocation>,
    pub cases: Vec<Case>,
}

/// A revocation state.
#[derive(Debug, Clone, Deserialize)]
pub struct Revocation {
    pub anchors: Vec<String>,
    /// Zone to delegation epoch.
    pub epochs: BTreeMap<String, u64>,
}

/// The STS's whole answer.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct KeySetAnswer {
    pub status: u16,
    body: String,
    pad_to: Option<usize>,
}

impl KeySetAnswer {
    pub fn body(&self) -> Vec<u8> {
        let mut body = self.body.clone().into_bytes();
        if let Some(size) = self.pad_to {
            body.resize(size, b' ');
        }
        body
    }
}

#[derive(Debug, Deserialize)]
pub struct Case {
    pub id: String,
    pub config: String,
    pub key_set: String,
    pub request: Request,
    pub expect: Observed,
    pub envoy: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Request {
    pub method: String,
    pub path: String,
    headers: Vec<Header>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Header {
    Text(String, String),
    Bytes { name: String, value_base64: String },
}

impl Request {
    /// Names and raw values, in order.
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        use base64::Engine as _;
        let read = |header: &Header| match header {
            Header::Text(name, value) => (name.clone(), value.clone().into_bytes()),
            Header::Bytes { name, value_base64 } => {
                let value = base64::engine::general_purpose::STANDARD.decode(value_base64);
                (name.clone(), value.unwrap())
            }
        };
        self.headers.iter().map(read).collect()
    }
}

/// What came back: the status, and the `error` of the body.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct Observed {
    pub status: u16,
    pub error: Option<String>,
}

impl Observed {
    pub fn admitted() -> Self {
        Observed {
            status: 200,
            error: None,
        }
    }

    /// From a reply's status and body.
    pub fn from_reply(status: u16, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        Observed {
            status,
            error: body["error"].as_str().map(str::to_owned),
        }
    }
}

/// Every file of vectors by its name.
pub fn load() -> Vec<(String, File)> {
    // The core's own tests read them too.
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut places = manifest
        .ancestors()
        .map(|at| at.join("tests/conformance/vectors"));
    let folder = places.find(|place| place.is_dir()).unwrap();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let file: File = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(file.format, 1, "{name}");
        files.push((name, file));
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(files.iter().map(|(_, f)| f.cases.len()).sum::<usize>() >= 300);
    files
}

/// A vector's configuration with what vectors leave to the runner: where the key
/// set comes from, who knows what is revoked, and that a claim which is no header value is
/// left out. The oracle hands claims over in its process, where nothing has to be one.
pub fn complete(config: &Value, cluster: &str, revocation: Option<&Revocation>) -> Vec<u8> {
    let mut config = config.clone();
    config["jwks"]["upstream"] = json!(cluster);
    config["revocation"] = match revocation {
        Some(_) => json!({"upstream": "feed"}),
        None => json!("disabled"),
    };
    config["forward"]["unsendable"] = json!("omit");
    config.to_string().into_bytes()
}

/// Collects a runner's results, prints them, and fails on any difference.
#[derive(Debug)]
pub struct Report {
    runner: &'static str,
    cases: usize,
    refused: usize,
    skipped: Vec<String>,
    differences: Vec<String>,
}

impl Report {
    pub fn new(runner: &'static str) -> Self {
        Report {
            runner,
            cases: 0,
            refused: 0,
            skipped: Vec::new(),
            differences: Vec::new(),
        }
    }

    /// Notes what a case came to. Only ids, statuses and codes are printed.
    pub fn add(&mut self, case: &Case, got: &Observed) {
        self.add_expecting(case, &case.expect, got);
    }

    /// The same where the runner's surroundings answer by themselves.
    pub fn add_expecting(&mut self, case: &Case, expected: &Observed, got: &Observed) {
        self.cases += 1;
        self.refused += usize::from(expected.status >= 400);
        if got != expected {
            self.differences
                .push(format!("{}: expected {expected:?}, got {got:?}", case.id));
        }
    }

    /// Notes something else that was wrong about a case.
    pub fn wrong(&mut self, case: &Case, what: &str) {
        self.differences.push(format!("{}: {what}", case.id));
    }

    pub fn skip(&mut self, case: &Case, why: &str) {
        self.skipped.push(format!("{}: {why}", case.id));
    }

    /// Prints the summary. The process exits with 1 when anything differed.
    pub fn finish(self) {
        for line in self.skipped.iter().chain(self.differences.iter().take(50)) {
            println!("  {line}");
        }
        println!(
            "conformance {}: {} cases, {} refused, {} skipped, {} differences",
            self.runner,
            self.cases,
            self.refused,
            self.skipped.len(),
            self.differences.len()
        );
        assert!(
            self.cases >= 300 && self.refused * 2 >= self.cases,
            "too few cases"
        );
        if !self.differences.is_empty() {
            std::process::exit(1);
        }
    }
}
