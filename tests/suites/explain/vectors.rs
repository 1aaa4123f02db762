//! Every vector is explained as it is decided.

use caracal_tests::conformance::{self, Case, File, Observed};

use super::*;

/// The head of a case's request, as it was recorded.
fn head(case: &Case) -> Vec<u8> {
    let request = &case.request;
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path).into_bytes();
    let headers = request.headers();
    // As the other runners do.
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        head.extend_from_slice(b"host: edge.test\r\n");
    }
    for (name, value) in headers {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(&value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

fn observed(output: &Output) -> Option<Observed> {
    let said: Value = serde_json::from_slice(&output.stdout).ok()?;
    let code = output.status.code()?;
    let first = said["checks"].as_array()?.iter();
    let failed: Vec<&Value> = first.filter(|check| check["outcome"] == "failed").collect();
    match said["verdict"].as_str()? {
        "admitted" | "excluded" if code == 0 && failed.is_empty() => Some(Observed::admitted()),
        // One check fails, and what is to change is said.
        "refused" if code == 1 && failed.len() == 1 && said["change"][0].is_string() => {
            Some(Observed {
                status: u16::try_from(said["reply"]["status"].as_u64()?).ok()?,
                error: Some(said["error"].as_str()?.to_owned()),
            })
        }
        _ => None,
    }
}

fn cases_of(name: &str, file: &File) -> Vec<String> {
    let folder = Folder::new(&format!("vectors-{name}"));
    let stations: Vec<(&String, Server)> = file
        .key_sets
        .iter()
        .map(|(name, answer)| {
            let (status, body) = (answer.status, answer.body());
            (
                name,
                Server::start(move |_| Reply::new(status, body.clone())),
            )
        })
        .collect();
    let mut wrong = Vec::new();
    for case in &file.cases {
        let revocation = file.revocation.as_ref();
        let document = conformance::complete(&file.configs[&case.config], "sts", revocation);
        let configuration = folder.file("filter.json", &document);
        let (_, station) = stations.iter().find(|(n, _)| **n == case.key_set).unwrap();
        let keys = format!("http://{}/keys", station.address());
        let at = file.now.to_string();
        let mut arguments = vec![
            configuration.as_str(),
            "--json",
            "--request",
            "-",
            "--key-set",
            &keys,
            "--at",
            &at,
        ];
        let zone = serde_json::from_slice::<Value>(&document).unwrap()["zone_id"].clone();
        let mut epoch = "0".to_owned();
        if let Some(state) = revocation {
            for anchor in &state.anchors {
                arguments.extend(["--revoked", anchor]);
            }
            if let Some(known) = state.epochs.get(zone.as_str().unwrap_or_default()) {
                epoch = known.to_string();
            }
            arguments.extend(["--epoch", &epoch]);
        }
        let done = call(&arguments, &head(case));
        let got = observed(&done);
        if got.as_ref() != Some(&case.expect) {
            wrong.push(format!(
                "{}: expected {:?}, got {got:?} {}",
                case.id,
                case.expect,
                String::from_utf8_lossy(&done.stderr)
            ));
        }
    }
    wrong
}

/// What Envoy answers by the same vectors, status and code; those that Envoy refuses
/// by itself are judged as the filter would.
#[test]
fn every_conformance_case_is_explained_as_it_is_decided() {
    let files = conformance::load();
    let mut number = 0;
    let mut wrong = Vec::new();
    std::thread::scope(|scope| {
        let running: Vec<_> = files
            .iter()
            .map(|(name, file)| {
                number += file.cases.len();
                scope.spawn(move || cases_of(name, file))
            })
            .collect();
        for one in running {
            wrong.extend(one.join().unwrap());
        }
    });
    println!("explained {number} cases, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
