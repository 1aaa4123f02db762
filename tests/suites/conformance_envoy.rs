//! The vectors, put to the wasm file in a real Envoy with two workers. The wall
//! clock of that Envoy stands still at the vectors' moment.

use std::collections::BTreeMap;

use caracal_tests::conformance::{self, Case, File, KeySetAnswer, Observed, Report};
use caracal_tests::envoy::Setup;
use caracal_tests::processes::Companion;
use caracal_tests::servers::{Client, Reply, Server};
use serde_json::json;

/// A filter of its own for each configuration and key set of a file.
type Pair<'a> = (&'a str, &'a str, &'a str);

fn main() {
    let files = conformance::load();
    let now = files[0].1.now;
    assert!(files.iter().all(|(_, file)| file.now == now));

    let mut pairs: BTreeMap<Pair, Vec<&Case>> = BTreeMap::new();
    for (name, file) in &files {
        for case in &file.cases {
            let pair = (name.as_str(), case.config.as_str(), case.key_set.as_str());
            pairs.entry(pair).or_default().push(case);
        }
    }

    let companion = Companion::new(&["--in-memory"]).started();
    for state in files
        .iter()
        .filter_map(|(_, file)| file.revocation.as_ref())
    {
        let mut all = vec![json!({"anchors": state.anchors})];
        let epochs = state.epochs.iter();
        all.extend(epochs.map(|(zone, epoch)| json!({"zone": zone, "epoch": epoch})));
        for body in all {
            let answer = companion.post("/v1/revocations", &body, None);
            assert_eq!(answer.status, 200);
        }
    }
    let upstream = Server::start(|_| Reply::new(200, "reached"));
    let mut setup = Setup {
        frozen_at: Some(now),
        ..Setup::default()
    }
    .cluster("upstream", upstream.address())
    .cluster("feed", companion.address);
    let mut stations: Vec<(String, KeySetAnswer, Server)> = Vec::new();
    for (file, config, key_set) in pairs.keys() {
        let file: &File = &files.iter().find(|(name, _)| name == file).unwrap().1;
        let answer = &file.key_sets[*key_set];
        let cluster = match stations.iter().find(|(_, known, _)| known == answer) {
            Some((cluster, ..)) => cluster.clone(),
            None => {
                let cluster = format!("sts-{}", stations.len());
                let (status, body) = (answer.status, answer.body());
                let server = Server::start(move |_| Reply::new(status, body.clone()));
                setup = setup.cluster(&cluster, server.address());
                stations.push((cluster.clone(), answer.clone(), server));
                cluster
            }
        };
        let revocation = file.revocation.as_ref();
        let complete = conformance::complete(&file.configs[*config], &cluster, revocation);
        setup
            .configurations
            .push(String::from_utf8(complete).unwrap());
    }

    let envoy = setup.start().unwrap_or_else(|log| panic!("{log}"));
    let mut report = Report::new("envoy");
    for (number, cases) in pairs.values().enumerate() {
        for case in cases {
            if let Some(why) = case.envoy.as_deref().and_then(|e| e.strip_prefix("skip: ")) {
                report.skip(case, why);
                continue;
            }
            let before = upstream.requests();
            let mut client = Client::connect(envoy.listener(number));
            let got = match client.exchange(&bytes_of(case)) {
                Ok(response) if response.status == 200 => Observed::admitted(),
                Ok(response) => Observed::from_reply(response.status, &response.body),
                Err(error) => {
                    report.wrong(case, &error.to_string());
                    continue;
                }
            };
            let native = case.envoy.as_deref() == Some("native-400");
            let refused_by_envoy = Observed {
                status: 400,
                error: None,
            };
            let expected = if native {
                &refused_by_envoy
            } else {
                &case.expect
            };
            report.add_expecting(case, expected, &got);
            if upstream.requests() - before != usize::from(expected.status == 200) {
                report.wrong(
                    case,
                    "the upstream was reached though refused, or not though admitted",
                );
            }
        }
    }
    report.finish();
}

fn bytes_of(case: &Case) -> Vec<u8> {
    let request = &case.request;
    let mut bytes = format!("{} {} HTTP/1.1\r\n", request.method, request.path).into_bytes();
    let headers = request.headers();
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        bytes.extend_from_slice(b"host: edge.test\r\n");
    }
    for (name, value) in headers {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(&value);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}
