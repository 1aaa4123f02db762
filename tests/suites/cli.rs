//! `caracal-edge` as a person calls it: `make build` has left it in `dist`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use caracal_tests::mint::configuration;
use caracal_tests::root;
use caracal_tests::servers::{Client, get, request};
use serde_json::{Value, json};

fn program() -> PathBuf {
    root().join("dist/caracal-edge")
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("caracal-cli-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn call(arguments: &[&str]) -> Output {
    Command::new(program())
        .args(arguments)
        .env_remove("CARACAL_STS_URL")
        .env_remove("CARACAL_ZONE_ID")
        .output()
        .unwrap()
}

fn check(folder: &Path, configuration: &Value, more: &[&str]) -> Output {
    let file = folder.join("filter.json");
    fs::write(&file, configuration.to_string()).unwrap();
    call(&[&["check", file.to_str().unwrap()], more].concat())
}

/// A development server; stopped when dropped.
struct Running(Child, SocketAddr);

impl Running {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let file = folder.join("address");
        let child = Command::new(program())
            .args(arguments)
            .args(["--listen", "127.0.0.1:0", "--address-file"])
            .arg(&file)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let text = fs::read_to_string(&file).unwrap_or_default();
            if let Ok(address) = text.parse() {
                return Running(child, address);
            }
            assert!(Instant::now() < deadline, "it does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn part(token: &str, number: usize) -> Value {
    let part = token.trim().split('.').nth(number).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part);
    serde_json::from_slice(&bytes.unwrap()).unwrap()
}

#[test]
fn check_names_every_error_at_once() {
    let bad = configuration(json!({
        "clock_skew_s": -1, "exclude": ["/"], "limits": {"max_paused": "x"}, "unknown": 1,
    }));
    let done = check(&folder("bad"), &bad, &["--json"]);
    assert_eq!(done.status.code(), Some(1));
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    let mut paths: Vec<&str> = said["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["path"].as_str().unwrap())
        .collect();
    paths.sort_unstable();
    let expected = ["clock_skew_s", "exclude[0]", "limits.max_paused", "unknown"];
    assert_eq!(paths, expected);
}

#[test]
fn check_prints_what_is_in_force_for_each_route() {
    let good = configuration(json!({
        "required_scopes": ["a"], "exclude": ["/healthz"],
        "routes": {"/pay": {"require_delegation": true}, "/pay/out": {"required_scopes": ["b"]}},
    }));
    let done = check(&folder("good"), &good, &["--json"]);
    assert!(done.status.success());
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    let rules = said["in_force"].as_array().unwrap();
    let prefixes: Vec<&str> = rules
        .iter()
        .map(|rule| rule["prefix"].as_str().unwrap())
        .collect();
    assert_eq!(prefixes, ["/healthz", "/pay/out", "/pay", "/"]);
    assert_eq!(rules[1]["requires"]["required_scopes"], json!(["b"]));
    assert_eq!(rules[1]["requires"]["require_delegation"], json!(false));
    assert_eq!(rules[2]["requires"]["required_scopes"], json!(["a"]));
    assert_eq!(rules[2]["requires"]["require_delegation"], json!(true));
    let words = check(&folder("words"), &good, &[]);
    let words = String::from_utf8(words.stdout).unwrap();
    assert!(words.contains("NOT CHECKED"), "{words}");
    assert!(words.contains("/healthz: excluded"), "{words}");
}

#[test]
fn the_sts_answers_for_its_zone_mints_and_rotates() {
    let folder = folder("sts");
    let keys = folder.join("keys.json");
    let keys_text = keys.to_str().unwrap();
    let sts = Running::start(&folder, &["sts", "--zone", "z 1", "--keys", keys_text]);
    let set = |query: &str| get(sts.1, &format!("/.well-known/jwks.json{query}"), None);
    assert_eq!(set("").status, 400);
    assert_eq!(set("?zone_id=other").status, 404);
    let before = set("?zone_id=z+1").json();
    assert_eq!(before["keys"].as_array().unwrap().len(), 1);
    assert!(
        !before.to_string().contains("\"d\""),
        "a private key is served"
    );

    let mut client = Client::connect(sts.1);
    let rotated = client.exchange(&request("POST", "/dev/rotate", &[("content-length", "0")]));
    let kid = rotated.unwrap().json()["kid"].clone();
    let after = set("?zone_id=z+1").json();
    assert_eq!(after["keys"][0]["kid"], kid);
    assert_eq!(
        after["keys"][1], before["keys"][0],
        "the previous key is kept"
    );

    let body = r#"{"claims":{"exp":"soon","sub":null},"header":{"typ":"x"}}"#;
    let size = body.len().to_string();
    let headers = [
        ("content-type", "application/json"),
        ("content-length", size.as_str()),
    ];
    let mut bytes = request("POST", "/dev/mint", &headers);
    bytes.extend_from_slice(body.as_bytes());
    let token = client.exchange(&bytes).unwrap().json()["token"].clone();
    let token = token.as_str().unwrap();
    assert_eq!(part(token, 0)["kid"], kid);
    assert_eq!(part(token, 0)["typ"], "x");
    assert_eq!(part(token, 1)["exp"], "soon");
    assert_eq!(part(token, 1)["sub"], Value::Null);
    assert_eq!(part(token, 1)["zone_id"], "z 1");

    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(&keys).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let done = call(&[
        "mint",
        "--keys",
        keys_text,
        "--claim",
        "hop_count=3",
        "--claim",
        "sid=null",
        "--claim",
        "sub=somebody",
        "--header",
        "kid=other",
        "--ttl-s",
        "-5",
    ]);
    let token = String::from_utf8(done.stdout).unwrap();
    assert_eq!(part(&token, 0)["kid"], "other");
    let claims = part(&token, 1);
    assert_eq!(
        (&claims["hop_count"], &claims["sub"]),
        (&json!(3), &json!("somebody"))
    );
    assert!(claims.get("sid").is_none());
}

#[test]
fn the_upstream_shows_no_credential() {
    let folder = folder("upstream");
    let upstream = Running::start(&folder, &["upstream"]);
    let said = get(upstream.1, "/a?b", Some("secret.secret.secret"));
    assert_eq!(said.json()["path"], "/a");
    let text = String::from_utf8(said.body).unwrap();
    assert!(!text.contains("secret"), "{text}");
    assert!(text.contains("fingerprint"), "{text}");
}

#[test]
fn development_servers_stay_on_loopback() {
    for command in ["sts", "upstream"] {
        let done = call(&[command, "--listen", "0.0.0.0:0"]);
        assert_eq!(done.status.code(), Some(2));
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(said.contains("--allow-remote"), "{said}");
    }
}
