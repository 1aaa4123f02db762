//! Gateway mode is not there by accident, and not with less than it needs.

use caracal_tests::redis_topology::Certificate;

use super::*;

fn fails(companion: Companion) -> String {
    let (code, said) = companion.fails();
    assert_ne!(code, Some(0), "{said}");
    said
}

fn gateway() -> Companion {
    Companion::new(&["--in-memory"]).gateway("http://127.0.0.1:1")
}

#[test]
fn without_gateway_there_is_no_exchange() {
    let companion = Companion::new(&["--in-memory"])
        .environment("GATEWAY_STS_HMAC_KEY", GATEWAY_KEY)
        .started();
    let answer = companion.post("/v1/exchange", &question("a.b.c", json!({})), None);
    assert_eq!(answer.status, 404);
    assert!(
        answer.json()["error_description"]
            .as_str()
            .unwrap()
            .contains("--gateway")
    );
}

#[test]
fn it_needs_the_key_and_the_sts() {
    let bare = || Companion::new(&["--in-memory", "--gateway"]);
    let url = ["--sts-url", "http://127.0.0.1:1"];
    assert!(fails(bare()).contains("CARACAL_STS_URL"));
    assert!(fails(bare().with(&url)).contains("GATEWAY_STS_HMAC_KEY"));
    let short = bare()
        .with(&url)
        .environment("GATEWAY_STS_HMAC_KEY", "abcd");
    let said = fails(short);
    assert!(
        said.contains("32 bytes") && !said.contains("abcd"),
        "{said}"
    );
    let idle = Companion::new(&["--in-memory"]).with(&url);
    assert!(fails(idle).contains("--gateway"));
    let by_name = bare()
        .environment("CARACAL_STS_URL", "http://127.0.0.1:1")
        .environment("GATEWAY_STS_HMAC_KEY", GATEWAY_KEY)
        .started();
    assert!(by_name.is_ready());
}

#[test]
fn the_key_comes_from_a_file_too() {
    let file = caracal_tests::processes::folder("key").join("key");
    std::fs::write(&file, format!("{GATEWAY_KEY}\n")).unwrap();
    let sts = Sts::start(&[ZONE], &decided(json!("allow")));
    let companion = Companion::new(&["--in-memory", "--gateway", "--sts-url", &sts.url()])
        .environment("GATEWAY_STS_HMAC_KEY_FILE", file.to_str().unwrap())
        .started();
    let mandate = sts.mandate(AUDIENCE);
    let ask = || {
        companion
            .post("/v1/exchange", &question(&mandate, json!({})), None)
            .json()
    };
    assert!(ask()["granted"].is_object());
    is_replay(&ask()["refused"]);
}

#[test]
fn the_sts_is_reached_safely() {
    let of = |url: &str| Companion::new(&["--in-memory"]).gateway(url);
    for url in [
        "http://sts.test",
        "http://sts:8080",
        "http://10.0.0.1",
        "http://localhost.test",
    ] {
        assert!(fails(of(url)).contains("--allow-insecure-sts"), "{url}");
        of(url).with(&["--allow-insecure-sts"]).started();
    }
    for url in [
        "",
        "sts.test",
        "ftp://sts.test",
        "https://u:p@sts.test",
        "https://sts.test?a=b",
    ] {
        assert!(fails(of(url)).contains("--sts-url"), "{url}");
    }
    of("https://sts.test/base").started();
    assert!(fails(of("https://sts.test").with(&["--allow-insecure-sts"])).contains("no effect"));
}

#[test]
fn beyond_loopback_it_needs_a_token_and_tls() {
    let fails_at = |token: Option<&str>| {
        let mut command =
            std::process::Command::new(caracal_tests::root().join("dist/caracal-edge"));
        command
            .args([
                "feed",
                "--listen",
                "0.0.0.0:0",
                "--redis-url",
                "redis://127.0.0.1:1",
            ])
            .args(["--gateway", "--sts-url", "http://127.0.0.1:1"])
            .env("GATEWAY_STS_HMAC_KEY", GATEWAY_KEY)
            .env_remove("CARACAL_FEED_TOKEN");
        if let Some(token) = token {
            command.env("CARACAL_FEED_TOKEN", token);
        }
        let done = command.output().unwrap();
        assert_eq!(done.status.code(), Some(2));
        String::from_utf8(done.stderr).unwrap()
    };
    assert!(fails_at(None).contains("CARACAL_FEED_TOKEN"));
    assert!(fails_at(Some("t")).contains("--tls-cert"));
}

#[test]
fn a_token_guards_the_exchange() {
    let companion = gateway()
        .environment("CARACAL_FEED_TOKEN", "right")
        .started();
    let body = question("a.b.c", json!({}));
    assert_eq!(companion.post("/v1/exchange", &body, None).status, 401);
    let answer = companion.post("/v1/exchange", &body, Some("right"));
    is(
        &answer.json()["refused"],
        401,
        "invalid_token",
        "malformed",
        false,
    );
}

/// As in a container that has nothing but the program.
#[test]
fn where_there_are_no_certificates_an_sts_on_loopback_is_reached() {
    let bare = |companion: Companion| {
        companion
            .environment("SSL_CERT_FILE", "/dev/null")
            .environment("SSL_CERT_DIR", "/nonexistent")
    };
    assert!(bare(gateway()).started().is_ready());
    let far = Companion::new(&["--in-memory"]).gateway("https://sts.test");
    assert!(fails(bare(far)).contains("CA certificates"));
}

/// The users of docs/companion.md: in Gateway mode the companion's may note used mandates.
#[test]
fn it_needs_the_right_to_note_used_mandates() {
    let redis = Redis::start(&[]);
    let sts = Sts::start(&[ZONE], &decided(json!("allow")));
    let page = std::fs::read_to_string(caracal_tests::root().join("docs/companion.md")).unwrap();
    let rules = page.lines().filter(|line| line.starts_with("user "));
    let (more, usual): (Vec<&str>, Vec<&str>) = rules.partition(|line| line.contains("seen:jti"));
    assert_eq!(more.len(), 1);
    let set = |rules: &[&str]| {
        for rule in rules {
            let rule = rule.replace("PASSWORD", "its-pass");
            let words: Vec<&str> = rule.split(' ').skip(1).collect();
            let _: String = redis.ask(&[&["ACL", "SETUSER"], &words[..]].concat());
        }
    };
    set(&usual);
    let url = format!("redis://companion:its-pass@{}", redis.address);
    let companion = Companion::of(&url).gateway(&sts.url()).started();
    let mandate = sts.mandate(AUDIENCE);
    let ask = |companion: &Companion| {
        let body = question(&mandate, json!({}));
        companion.post("/v1/exchange", &body, None).json()
    };
    for _ in 0..20 {
        is(
            &ask(&companion)["refused"],
            503,
            "sts_unavailable",
            "redis",
            false,
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    set(&more);
    until("it may note it", SOON, || {
        ask(&companion)["granted"].is_object()
    });
}

/// Another companion's API stands for an STS with a certificate: it has no such page, which
/// only who trusts it gets to know.
#[test]
fn the_sts_s_certificate_is_verified() {
    let own = Certificate::default();
    let (certificate, key) = (own.authority(), own.key.to_str().unwrap());
    let far = Companion::new(&["--in-memory", "--tls-cert", certificate, "--tls-key", key]);
    let far = far.listening();
    let sts = Sts::start(&[ZONE], &decided(json!("allow")));
    let ask = |words: &[&str]| {
        let url = format!("https://localhost:{}", far.address.port());
        let companion = Companion::new(&["--in-memory"])
            .gateway(&url)
            .with(words)
            .started();
        let body = question(&sts.mandate(AUDIENCE), json!({}));
        companion.post("/v1/exchange", &body, None).json()["refused"].clone()
    };
    is(&ask(&[]), 502, "sts_unavailable", "sts_unreachable", true);
    let trusted = ask(&["--sts-ca-file", certificate]);
    is(&trusted, 404, "sts_unavailable", "sts_refused", true);
    let other = Certificate::default();
    let other = ask(&["--sts-ca-file", other.authority()]);
    is(&other, 502, "sts_unavailable", "sts_unreachable", true);
}
