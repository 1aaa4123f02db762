//! Options, the token, the HTTP API, and `caracal-edge revoke`.

use super::*;

#[test]
fn a_token_guards_v1_and_is_needed_beyond_loopback() {
    let companion = Companion::new(&["--in-memory"])
        .environment("CARACAL_FEED_TOKEN", "right")
        .started();
    let status = |path: &str, token: Option<&str>| {
        Client::connect(companion.address)
            .get(path, token, &[])
            .status
    };
    for path in ["/v1/feed", "/v1/snapshot"] {
        assert_eq!(status(path, None), 401);
        assert_eq!(status(path, Some("wrong")), 401);
        assert_eq!(status(path, Some("righ")), 401);
    }
    assert_eq!(status("/v1/snapshot", Some("right")), 200);
    assert_eq!(companion.post("/v1/check", &json!({}), None).status, 401);
    assert_eq!(
        companion
            .post("/v1/revocations", &json!({"anchors": ["a"]}), None)
            .status,
        401
    );
    for open in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(status(open, None), 200);
    }
    assert!(!companion.log().contains("right"));
    let (code, said) = Companion::new(&["--listen", "0.0.0.0:0"]).fails();
    assert_eq!(code, Some(2), "{said}");
    let done = Command::new(caracal_tests::root().join("dist/caracal-edge"))
        .args(["feed", "--listen", "0.0.0.0:0"])
        .args(["--redis-url", "redis://127.0.0.1:1"])
        .env_remove("CARACAL_FEED_TOKEN")
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&done.stderr).contains("CARACAL_FEED_TOKEN"));
}

#[test]
fn bad_options_are_named() {
    let said = |companion: Companion| {
        let (code, said) = companion.fails();
        assert_eq!(code, Some(2), "{said}");
        said
    };
    assert!(
        said(Companion::of("redis://127.0.0.1:1").with(&["--require-signature"]))
            .contains("STREAMS_HMAC_KEY")
    );
    let short = Companion::new(&["--in-memory"]).environment("STREAMS_HMAC_KEY", "abcd");
    assert!(said(short).contains("at least 32 bytes"));
    assert!(said(Companion::of("http://x")).contains("redis://"));
    let two = Companion::of("redis://127.0.0.1:1,redis://127.0.0.1:2");
    assert!(said(two).contains("--redis-cluster"));
}

#[test]
fn without_redis_it_keeps_revocations_in_a_file_and_says_that_they_are_not_shared() {
    let file = folder("state").join("state.jsonl");
    let name = file.to_str().unwrap();
    let mut companion = Companion::new(&["--state-file", name]).started();
    assert_eq!(companion.get("/readyz").json()["shared"], json!(false));
    assert!(companion.log().contains("not shared"));
    let edge = |words: &[&str]| {
        let feed = format!("http://{}", companion.address);
        let done = Command::new(caracal_tests::root().join("dist/caracal-edge"))
            .arg("revoke")
            .args(words)
            .args(["--feed", &feed])
            .output()
            .unwrap();
        (
            done.status.code(),
            String::from_utf8_lossy(&done.stderr).into_owned(),
        )
    };
    assert_eq!(
        edge(&["--session", "s-1", "--agent-session", "a-1"]).0,
        Some(0)
    );
    assert_eq!(edge(&["--epoch", "4", "--zone", "z"]).0, Some(0));
    assert!(edge(&["--epoch", "4"]).1.contains("--zone"));
    assert!(edge(&[]).1.contains("nothing to revoke"));
    for bad in [
        json!({}),
        json!({"anchors": [""]}),
        json!({"zone": "z"}),
        json!({"x": 1}),
        json!([]),
    ] {
        assert_eq!(
            companion.post("/v1/revocations", &bad, None).status,
            400,
            "{bad}"
        );
    }
    assert_eq!(companion.stop(), Some(0));
    companion.start();
    for anchor in ["s-1", "a-1"] {
        assert!(companion.has_revoked(anchor), "{anchor}");
    }
    let known = companion
        .post("/v1/check", &json!({"zone": "z"}), None)
        .json();
    assert_eq!(known["epoch"], json!(4));
    companion.kill();
    std::fs::write(&file, "no revocation\n").unwrap();
    let (code, said) = Companion::new(&["--state-file", name]).fails();
    assert_eq!((code, said.contains("line 1")), (Some(2), true), "{said}");
}

#[test]
fn revoke_publishes_a_signed_event() {
    let redis = Redis::default();
    let companion = Companion::new(&["--redis-url", &redis.url(), "--require-signature"])
        .environment("STREAMS_HMAC_KEY", KEY)
        .started();
    let publish = |key: Option<&str>, words: &[&str]| {
        let done = Command::new(caracal_tests::root().join("dist/caracal-edge"))
            .arg("revoke")
            .args(words)
            .args(["--redis-url", &redis.url(), "--json"])
            .env_remove("STREAMS_HMAC_KEY")
            .envs(key.map(|key| ("STREAMS_HMAC_KEY", key)))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(said.contains("UNSIGNED"), key.is_none(), "{said}");
        serde_json::from_slice::<Value>(&done.stdout).unwrap()
    };
    assert_eq!(
        publish(Some(KEY), &["--session", "s-1", "--reason", "test"])["signed"],
        json!(true)
    );
    assert_eq!(publish(None, &["--session", "s-2"])["signed"], json!(false));
    publish(Some(KEY), &["--epoch", "3", "--zone", "z"]);
    until("the signed one counts", SOON, || {
        companion.has_revoked("s-1")
    });
    until("the other is a dead letter", SOON, || {
        dead_letters(&redis, SESSIONS).len() == 1
    });
    assert!(!companion.has_revoked("s-2"));
    let epoch = || {
        companion
            .post("/v1/check", &json!({"zone": "z"}), None)
            .json()["epoch"]
            .clone()
    };
    until("the epoch", SOON, || epoch() == json!(3));
}

#[test]
fn questions_that_are_too_large_are_refused() {
    let companion = Companion::new(&["--in-memory", "--zone", "z"]).started();
    let anchors = |n: usize| json!((0..n).map(|n| n.to_string()).collect::<Vec<_>>());
    for (path, body, status) in [
        (
            "/v1/check",
            json!({"zone": "z", "anchors": anchors(100)}),
            200,
        ),
        (
            "/v1/check",
            json!({"zone": "z", "anchors": anchors(101)}),
            400,
        ),
        ("/v1/revocations", json!({"anchors": anchors(101)}), 400),
        (
            "/v1/revocations",
            json!({"anchors": ["a".repeat(65_537)]}),
            400,
        ),
        (
            "/v1/revocations",
            json!({"anchors": ["a".repeat(600_000)]}),
            400,
        ),
    ] {
        assert_eq!(companion.post(path, &body, None).status, status, "{path}");
    }
    assert!(!companion.has_revoked("0"));
}

/// An epoch that is not kept must not look like one that was never raised.
#[test]
fn a_companion_of_one_zone_says_so_and_answers_about_no_other() {
    let one = Companion::new(&["--in-memory", "--zone", "z"]).started();
    let all = Companion::new(&["--in-memory"]).started();
    let ask = |companion: &Companion, zone: &str| {
        let answer = companion.post("/v1/check", &json!({"anchors": ["a"], "zone": zone}), None);
        (answer.status, answer.json()["error"].clone())
    };
    assert_eq!(ask(&one, "z"), (200, Value::Null));
    assert_eq!(ask(&one, "other"), (409, json!("other_zone")));
    assert_eq!(ask(&all, "other"), (200, Value::Null));
    let generation = |companion: &Companion| {
        let page = companion.get("/v1/snapshot").json();
        page["generation"].as_str().unwrap().to_owned()
    };
    for (companion, zone) in [(&one, json!("z")), (&all, Value::Null)] {
        let feed = format!("/v1/feed?generation={}&after=0", generation(companion));
        for path in ["/v1/snapshot", &feed] {
            assert_eq!(companion.get(path).json()["zone"], zone, "{path}");
        }
    }
}

#[test]
fn the_feed_is_paged_waits_and_ends_with_the_companion() {
    let mut companion = Companion::new(&["--in-memory", "--zone", "z"]).started();
    for n in 0..25 {
        companion.post(
            "/v1/revocations",
            &json!({"anchors": [format!("a-{n}")]}),
            None,
        );
    }
    companion.post(
        "/v1/revocations",
        &json!({"zone": "other", "epoch": 1}),
        None,
    );
    let page = |path: &str| companion.get(path).json();
    let first = page("/v1/snapshot?max=10");
    let generation = first["generation"].as_str().unwrap();
    let mut seen = first["entries"].as_array().unwrap().len();
    let mut next = first["next"].clone();
    while let Some(cursor) = next.as_str() {
        let more = page(&format!("/v1/snapshot?max=10&cursor={cursor}"));
        seen += more["entries"].as_array().unwrap().len();
        next = more["next"].clone();
    }
    assert_eq!(seen, 25, "every anchor, and no epoch of another zone");
    let head = first["head"].as_u64().unwrap();
    let feed = |after: u64, wait: u64| {
        format!("/v1/feed?generation={generation}&after={after}&wait_ms={wait}")
    };
    assert_eq!(
        page(&feed(20, 5_000))["entries"].as_array().unwrap().len(),
        5
    );
    let since = Instant::now();
    assert_eq!(page(&feed(head, 300))["entries"], json!([]));
    assert!(since.elapsed() >= Duration::from_millis(300));
    assert_eq!(companion.get(&feed(head + 1, 0)).status, 410);
    assert_eq!(
        companion.get("/v1/feed?generation=other&after=0").status,
        410
    );
    for bad in [
        "/v1/feed?after=x",
        "/v1/snapshot?cursor=x",
        "/v1/snapshot?max=-1",
    ] {
        assert_eq!(companion.get(bad).status, 400, "{bad}");
    }
    // News end a wait, and so does the end.
    let wait = |after: u64| {
        let (address, path) = (companion.address, feed(after, 20_000));
        std::thread::spawn(move || {
            let bytes = request("GET", &path, &[]);
            Client::connect(address).exchange(&bytes).unwrap().json()
        })
    };
    let waiting = wait(head);
    until("it waits", SOON, || {
        companion.metric("caracal_feed_connected_filters") == 1.0
    });
    companion.post("/v1/revocations", &json!({"anchors": ["new"]}), None);
    assert_eq!(
        waiting.join().unwrap()["entries"][0]["anchor"],
        json!("new")
    );
    let waiting = wait(head + 1);
    until("it waits", SOON, || {
        companion.metric("caracal_feed_connected_filters") == 1.0
    });
    let since = Instant::now();
    assert_eq!(companion.stop(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(5));
    assert_eq!(waiting.join().unwrap()["entries"], json!([]));
}
