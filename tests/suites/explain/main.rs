//! `caracal-edge explain`, as a person calls it: over every conformance case, and of
//! broken mandates, whose text has to be enough to mend them.

mod broken;
mod documents;
mod gateway;
// What this suite does not use of it, `gateway_in_process` does.
#[allow(dead_code)]
#[path = "../gateway_in_process/edge.rs"]
mod in_process;
mod looked_at;
mod mcp;
mod origin;
mod shadow;
mod vectors;
mod zones;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use caracal_tests::mint::{Key, claims, configuration, key_set};
use caracal_tests::processes::Companion;
use caracal_tests::root;
use caracal_tests::servers::{Reply, Server};
use serde_json::{Value, json};

use broken::{Broken, broken, edge};

const NOW: u64 = 1_767_225_600;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        // Tests that run at the same time may use one name.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        let process = std::process::id();
        let folder = std::env::temp_dir().join(format!("caracal-explain-{process}-{count}-{name}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let file = self.0.join(name);
        fs::write(&file, bytes).unwrap();
        file.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Explains, with every check.
fn call(arguments: &[&str], input: &[u8]) -> Output {
    call_as_is(&[arguments, &["--all"]].concat(), input)
}

fn call_as_is(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(root().join("dist/caracal-edge"))
        .arg("explain")
        .args(arguments)
        .env_remove("CARACAL_STS_URL")
        .env_remove("CARACAL_ZONE_ID")
        .env_remove("CARACAL_FEED_TOKEN")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended before it reads.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Explains a token that comes by standard input, for the path `/`.
fn explain_token(configuration: &str, more: &[&str], token: &str) -> Output {
    let at = NOW.to_string();
    let usual = [
        configuration,
        "--at",
        &at,
        "--token-file",
        "-",
        "--path",
        "/",
    ];
    call(&[&usual[..], more].concat(), token.as_bytes())
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn explained(folder: &Folder, broken: &Broken) -> Output {
    let configuration = folder.file("filter.json", edge().to_string());
    let keys = folder.file("keys.json", key_set(&[&Key::new("k1", 1)]).to_string());
    let at = NOW.to_string();
    let mut arguments = vec![
        configuration.as_str(),
        "--key-set",
        &keys,
        "--at",
        &at,
        "--token-file",
        "-",
    ];
    arguments.extend(&broken.more);
    call(&arguments, format!("{}\n", broken.token).as_bytes())
}

/// The line of a check in the text, from its verdict on.
fn line<'t>(text: &'t str, check: &str) -> &'t str {
    let of_check = |line: &'t str| line.get(5..)?.strip_prefix(&format!("{check:<18}  "));
    text.lines().find_map(of_check).unwrap_or_default()
}

#[test]
fn a_broken_mandate_can_be_mended_by_what_is_said() {
    let folder = Folder::new("broken");
    for broken in broken() {
        let done = explained(&folder, &broken);
        let (name, said) = (broken.name, text(&done));
        assert_eq!(done.status.code(), Some(1), "{name}: {said}");
        assert!(
            said.contains(&format!("The edge refuses: {}", broken.code)),
            "{name}: {said}"
        );
        let [check, expected, found] = broken.check;
        let line = line(&said, check);
        let (before, after) = line.split_once("; found ").unwrap_or_default();
        assert!(line.starts_with("FAILED "), "{name}: {line}\n{said}");
        assert!(before.contains(expected), "{name}: {line}");
        assert!(after.contains(found), "{name}: {line}");
        let change = said.split("What to change").nth(1).unwrap_or_default();
        let change = change.split("\n\n").next().unwrap_or_default();
        for words in broken.fix {
            assert!(change.contains(words), "{name}: {words}\n{said}");
        }
        let unchecked = change.contains("- Revocation was not checked");
        assert_ne!(
            unchecked,
            broken.more.contains(&"--revoked"),
            "{name}: {said}"
        );
        // What comes before passed, and nothing of the token is printed.
        assert_eq!(said.matches("FAILED").count(), 1, "{name}: {said}");
        for part in broken.token.split('.').filter(|part| part.len() > 20) {
            let piece = part.get(..20).unwrap();
            assert!(!said.contains(piece), "{name} prints the token");
        }
    }
}

/// The text of each into the folder that `EXPLAIN_SAMPLES` names, for somebody to read
/// who does not know what is broken.
#[test]
fn samples_for_readers() {
    let Ok(to) = std::env::var("EXPLAIN_SAMPLES") else {
        return;
    };
    let (to, folder) = (Path::new(&to), Folder::new("samples"));
    fs::create_dir_all(to).unwrap();
    for (n, broken) in broken().iter().enumerate() {
        let name = format!("{:02}.txt", n + 1);
        fs::write(to.join(name), text(&explained(&folder, broken))).unwrap();
    }
}

#[test]
fn everything_that_would_fail_is_said_at_once() {
    let folder = Folder::new("several");
    let token = Key::new("k1", 1).mandate(
        NOW,
        json!({"aud": "x", "scope": "y", "zone_id": "z", "hop_count": 11}),
    );
    let broken = Broken {
        token,
        ..broken().remove(0)
    };
    let said = text(&explained(&folder, &broken));
    assert_eq!(said.matches("FAILED").count(), 1, "{said}");
    assert_eq!(said.matches("WOULD FAIL").count(), 3, "{said}");
    assert_eq!(said.matches("- Then also: ").count(), 3, "{said}");
}

#[test]
fn claims_alone_are_judged_without_a_signature() {
    let folder = Folder::new("claims");
    let configuration = folder.file("filter.json", edge().to_string());
    let at = NOW.to_string();
    let judge = |changes: Value, path: &str| {
        let claims = claims(NOW, changes).to_string();
        let arguments = [
            &configuration,
            "--at",
            &at,
            "--claims",
            "-",
            "--path",
            path,
            "--json",
        ];
        let done = call(&arguments, claims.as_bytes());
        let said: Value = serde_json::from_slice(&done.stdout).unwrap();
        (done.status.code(), said)
    };
    let (code, said) = judge(json!({}), "/invoices");
    assert_eq!((code, &said["verdict"]), (Some(0), &json!("admitted")));
    let conditions = said["conditions"].to_string();
    assert!(conditions.contains("no signature was checked"), "{said}");
    assert!(conditions.contains("if not revoked"), "{said}");
    let signature = said["checks"].as_array().unwrap();
    let signature = signature
        .iter()
        .find(|c| c["check"] == "signature")
        .unwrap();
    assert_eq!(signature["outcome"], "not_checked");
    let (code, said) = judge(json!({"scope": "x"}), "/invoices");
    assert_eq!(
        (code, &said["error"]),
        (Some(1), &json!("insufficient_scope"))
    );
    let (code, said) = judge(json!({"sub": 1}), "/invoices");
    assert_eq!((code, &said["error"]), (Some(1), &json!("invalid_token")));
    let (code, said) = judge(json!({}), "/invoices/../payouts");
    assert_eq!((code, &said["error"]), (Some(1), &json!("invalid_request")));
    assert!(said["readings"].as_array().unwrap().len() >= 2, "{said}");
}

#[test]
fn a_live_sts_and_a_live_companion_are_asked() {
    let folder = Folder::new("live");
    let key = Key::new("k1", 1);
    let set = key_set(&[&key]);
    let sts = Server::start(move |_| Reply::json(&set));
    let issuer = format!("http://{}", sts.address());
    let mut edge = edge();
    edge["issuer"] = json!(issuer);
    let configuration = folder.file("filter.json", edge.to_string());
    let token = key.mandate(NOW, json!({"iss": issuer, "delegation_graph_epoch": 3}));
    let explain = |more: &[&str]| {
        let more = [&["--json"], more].concat();
        let done = explain_token(&configuration, &more, &token);
        let said: Value = serde_json::from_slice(&done.stdout).unwrap();
        (done.status.code(), said["error"].clone())
    };
    assert_eq!(explain(&[]), (Some(0), Value::Null));
    assert_eq!(sts.requests(), 1, "asked where the edge asks");

    let companion = Companion::new(&["--in-memory"]).started();
    let feed = format!("http://{}", companion.address);
    assert_eq!(explain(&["--feed", &feed]), (Some(0), Value::Null));
    companion.post(
        "/v1/revocations",
        &json!({"zone": "zone-1", "epoch": 4}),
        None,
    );
    assert_eq!(
        explain(&["--feed", &feed]),
        (Some(1), json!("delegation_stale"))
    );
    companion.post("/v1/revocations", &json!({"anchors": ["sid-1"]}), None);
    assert_eq!(
        explain(&["--feed", &feed]),
        (Some(1), json!("session_revoked"))
    );

    // Nobody listens at a port that was let go.
    drop(companion);
    assert_eq!(
        explain(&["--feed", &feed]),
        (Some(1), json!("sts_unavailable"))
    );
    drop(sts);
    assert_eq!(explain(&[]), (Some(1), json!("sts_unavailable")));
}

#[test]
fn what_cannot_be_judged_ends_with_2() {
    let folder = Folder::new("usage");
    let good = folder.file("filter.json", edge().to_string());
    let bad = folder.file("bad.json", "{}");
    let disabled = folder.file("disabled.json", configuration(json!({})).to_string());
    for arguments in [
        &[good.as_str()][..],
        &[&bad, "--path", "/"],
        &[&good, "--path", "/", "--at", "soon"],
        &[&good, "--path", "/", "--header", "no header"],
        &[
            &good,
            "--path",
            "/",
            "--header",
            "Authorization: Bearer x.y.z",
        ],
        &[&good, "--path", "/", "--token-file", "/does/not/exist"],
        &[
            &good,
            "--path",
            "/",
            "--feed",
            "http://127.0.0.1:1",
            "--epoch",
            "1",
        ],
        &[&disabled, "--path", "/", "--revoked", "x"],
        &["/does/not/exist", "--path", "/"],
    ] {
        let done = call(arguments, b"");
        assert_eq!(done.status.code(), Some(2), "{arguments:?}");
        assert!(
            done.stdout.is_empty() && !done.stderr.is_empty(),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_request_for_no_resource_is_explained() {
    let folder = Folder::new("resources");
    let mut edge = edge();
    edge.as_object_mut().unwrap().remove("audience");
    edge.as_object_mut().unwrap().remove("routes");
    edge["resources"] =
        json!({"resource://billing-api": {"hosts": ["billing.test"]}, "resource://crm-api": {}});
    let configuration = folder.file("filter.json", edge.to_string());
    let explain = |more: &[&str]| {
        text(&call(
            &[&[&configuration, "--path", "/"], more].concat(),
            b"",
        ))
    };
    let said = explain(&["--header", "X-Caracal-Resource: resource://payroll"]);
    for words in [
        "400 invalid_request",
        "expected one of [\"resource://billing-api\", \"resource://crm-api\"]",
        "found X-Caracal-Resource \"resource://payroll\"",
        "The caller names one of the resources",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    let said = explain(&["--header", "Host: billing.test"]);
    assert!(said.contains("401 missing_token"), "{said}");
    assert!(
        said.contains(": resource \"resource://billing-api\""),
        "{said}"
    );
}

/// Nothing in a token, a path or a key set can write to a terminal.
#[test]
fn what_is_printed_is_printable() {
    let folder = Folder::new("terminal");
    let nasty = "\u{1b}]0;x\u{7}\u{202e}\n\r\u{9b}2J";
    let key = Key::new(nasty, 1);
    let token = key.mandate(
        NOW,
        json!({"aud": [nasty], "iss": nasty, "scope": nasty, "sid": nasty, "zone_id": nasty,
            "hop_count": nasty, "target": [nasty], "agent_session_id": nasty}),
    );
    let configuration = folder.file("filter.json", edge().to_string());
    let keys = folder.file("keys.json", key_set(&[&key]).to_string());
    let path = format!("/{nasty}");
    for json in [&["--json"][..], &[]] {
        let arguments = [
            &configuration,
            "--key-set",
            &keys,
            "--token-file",
            "-",
            "--path",
            &path,
        ];
        let done = call(&[&arguments[..], json].concat(), token.as_bytes());
        assert_eq!(done.status.code(), Some(1));
        for c in text(&done).chars() {
            assert!(c == '\n' || matches!(c, ' '..='~'), "{c:?} is printed");
        }
    }
}
