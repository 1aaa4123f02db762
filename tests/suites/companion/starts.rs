//! What keeps it from starting: whatever would leave it useless, or less than somebody
//! meant. And `revoke`, which says what it does.

use std::path::Path;

use super::*;

/// Runs `caracal-edge` with an environment of its own; exit status and standard error.
pub(super) fn edge(words: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(caracal_tests::root().join("dist/caracal-edge"));
    for name in ["REDIS_URL", "STREAMS_HMAC_KEY", "CARACAL_FEED_TOKEN"] {
        command.env_remove(name).env_remove(format!("{name}_FILE"));
    }
    let done = command
        .args(words)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said = [done.stderr, done.stdout].concat();
    (
        done.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

pub(super) fn written(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn a_start_that_would_be_useless_is_refused_with_the_name_of_what_is_wrong() {
    let folder = folder("starts");
    let empty = written(&folder, "empty.pem", "no certificate\n");
    let url = "redis://127.0.0.1:1";
    let cases: Vec<(Vec<&str>, Vec<(&str, &str)>, &str)> = vec![
        (vec![], vec![], "--in-memory"),
        (vec![], vec![("REDIS_URL", "")], "REDIS_URL"),
        (vec![], vec![("REDIS_URL", "redis//typo")], "redis://"),
        (vec!["--redis-url", "redis://a,"], vec![], "--redis-url"),
        (vec!["--in-memory"], vec![("REDIS_URL", url)], "--in-memory"),
        (
            vec!["--in-memory", "--require-signature"],
            vec![],
            "--require-signature",
        ),
        (vec!["--in-memory", "--group", "g"], vec![], "--group"),
        (vec!["--in-memory", "--consumer", "c"], vec![], "--consumer"),
        (
            vec!["--in-memory", "--redis-cluster"],
            vec![],
            "--redis-cluster",
        ),
        (
            vec!["--in-memory", "--redis-ca-file", &empty],
            vec![],
            "--redis-ca-file",
        ),
        (
            vec!["--in-memory", "--token", "t", "--listen", "0.0.0.0:0"],
            vec![],
            "--listen",
        ),
        (
            vec!["--in-memory"],
            vec![("STREAMS_HMAC_KEY", KEY)],
            "STREAMS_HMAC_KEY",
        ),
        (
            vec!["--redis-url", url],
            vec![("STREAMS_HMAC_KEY", "")],
            "STREAMS_HMAC_KEY",
        ),
        (
            vec!["--redis-url", url, "--redis-ca-file", &empty],
            vec![],
            "no effect",
        ),
        (
            vec!["--redis-url", "rediss://h", "--redis-ca-file", &empty],
            vec![],
            "no certificate",
        ),
        (
            vec!["--redis-url", "rediss://h", "--redis-ca-file", "/none"],
            vec![],
            "/none",
        ),
        (
            vec!["--redis-url", url, "--redis-sentinel-user", "u"],
            vec![],
            "--redis-sentinel-user",
        ),
        (
            vec!["--redis-url", url],
            vec![("REDIS_SENTINEL_PASSWORD", "p")],
            "REDIS_SENTINEL_PASSWORD",
        ),
        (
            vec!["--in-memory", "--max-anchors", "0"],
            vec![],
            "--max-anchors",
        ),
        (
            vec!["--state-file", "/none/state.jsonl"],
            vec![],
            "/none/state.jsonl",
        ),
        (vec!["--in-memory", "--token", ""], vec![], "--token"),
        (
            vec!["--in-memory", "--tls-cert", &empty],
            vec![],
            "--tls-key",
        ),
        (
            vec!["--in-memory", "--tls-key", &empty],
            vec![],
            "--tls-cert",
        ),
        (
            vec!["--in-memory", "--tls-cert", &empty, "--tls-key", "/none"],
            vec![],
            "--tls-key: cannot read /none",
        ),
        (
            vec!["--in-memory", "--tls-cert", &empty, "--tls-key", &empty],
            vec![],
            "no certificate",
        ),
    ];
    for (words, environment, expected) in cases {
        let (code, said) = edge(
            &[&["feed", "--listen", "127.0.0.1:0"], &words[..]].concat(),
            &environment,
        );
        assert!(
            matches!(code, Some(1 | 2)),
            "{words:?} {environment:?}: {said}"
        );
        assert!(said.contains(expected), "{words:?} {environment:?}: {said}");
    }
}

#[test]
fn secrets_are_read_from_files_and_never_shown() {
    let redis = Redis::default();
    let folder = folder("secrets");
    let key = written(&folder, "key", &format!("{KEY}\n"));
    let url = written(&folder, "url", &redis.url());
    let token = written(&folder, "token", "from-a-file\n");
    let companion = Companion::new(&["--require-signature"])
        .environment("REDIS_URL_FILE", &url)
        .environment("STREAMS_HMAC_KEY_FILE", &key)
        .environment("CARACAL_FEED_TOKEN_FILE", &token)
        .started();
    add(&redis, SESSIONS, &[("sid", b"signed")], Some(KEY));
    let known = || {
        let asked = json!({"anchors": ["signed"]});
        companion
            .post("/v1/check", &asked, Some("from-a-file"))
            .json()["revoked"]
            == json!(["signed"])
    };
    until("the signed one counts", SOON, known);
    assert_eq!(companion.post("/v1/check", &json!({}), None).status, 401);
    let log = companion.log();
    assert!(
        !log.contains("from-a-file") && !log.contains(&KEY[..16]),
        "{log}"
    );

    let empty = written(&folder, "nothing", "\n");
    let both = [
        ("CARACAL_FEED_TOKEN", "hidden-1"),
        ("CARACAL_FEED_TOKEN_FILE", &token),
    ];
    for (environment, expected) in [
        (&both[..], "unset one"),
        (&[("CARACAL_FEED_TOKEN_FILE", "/none")][..], "/none"),
        (&[("CARACAL_FEED_TOKEN_FILE", empty.as_str())][..], "empty"),
    ] {
        let (code, said) = edge(
            &["feed", "--in-memory", "--listen", "127.0.0.1:0"],
            environment,
        );
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains(expected) && !said.contains("hidden-1"),
            "{said}"
        );
    }
}

#[test]
fn revoke_waits_until_it_is_in_force_and_a_flag_wins_over_the_environment() {
    let redis = Redis::default();
    let companion = Companion::of(&redis.url()).started();
    let feed = format!("http://{}", companion.address);
    let url = redis.url();
    let environment = [("REDIS_URL", url.as_str())];
    let words = [
        "revoke",
        "--session",
        "waited",
        "--redis-url",
        &url,
        "--feed",
        &feed,
        "--wait",
    ];
    let (code, said) = edge(&words, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(companion.has_revoked("waited"), "it did not wait");
    let (code, said) = edge(
        &[
            "revoke",
            "--epoch",
            "4",
            "--zone",
            "z",
            "--redis-url",
            &url,
            "--feed",
            &feed,
            "--wait",
            "5",
        ],
        &[],
    );
    assert_eq!(code, Some(0), "{said}");
    // Nobody is there who could know of it.
    let nowhere = format!("http://{}", caracal_tests::processes::free_address());
    let (code, said) = edge(
        &[
            "revoke",
            "--session",
            "s",
            "--redis-url",
            &url,
            "--feed",
            &nowhere,
            "--wait",
            "1",
        ],
        &[],
    );
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("not in force"), "{said}");
    // The flag names a companion without Redis.
    let alone = Companion::new(&["--in-memory"]).started();
    let feed = format!("http://{}", alone.address);
    let (code, said) = edge(
        &["revoke", "--session", "told", "--feed", &feed],
        &environment,
    );
    assert_eq!(code, Some(0), "{said}");
    assert!(alone.has_revoked("told") && !companion.has_revoked("told"));
    let (code, said) = edge(
        &[
            "revoke",
            "--session",
            "s",
            "--feed",
            &feed,
            "--redis-url",
            &url,
        ],
        &[],
    );
    assert_eq!(code, Some(2), "{said}");
}

#[test]
fn the_log_level_is_an_option_and_wins_over_the_environment() {
    let start = |options: &[&str], environment: &str| {
        Companion::new(options)
            .environment("RUST_LOG", environment)
            .started()
            .log()
    };
    let quiet = start(&["--in-memory", "--log-level", "error"], "warn");
    assert!(!quiet.contains("not shared"), "{quiet}");
    let loud = start(&["--in-memory"], "warn");
    assert!(loud.contains("not shared"), "{loud}");
    let (code, said) = edge(&["feed", "--in-memory", "--log-level", "loud"], &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--log-level"), "{said}");
}
