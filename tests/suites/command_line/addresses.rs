//! Addresses without a scheme are understood wherever a server's URL is an option.

use caracal_tests::processes::{Companion, Redis, folder};
use caracal_tests::root;
use serde_json::Value;

use super::{Running, call, call_with_input, stderr, stdout};

#[test]
fn a_companion_and_an_sts_need_no_scheme() {
    let folder = folder("addresses");
    let keys = folder.join("keys.json");
    let keys = keys.to_str().unwrap();
    let sts = Running::start(&folder, &["sts", "--keys", keys]);
    let companion = Companion::new(&["--in-memory"]).started();
    let feed = companion.address.to_string();
    let port = sts.address.rsplit_once(':').unwrap().1;
    let at_localhost = format!("localhost:{port}");

    // An STS that is named by its address is asked where the edge asks its own.
    let token = stdout(&call(&["mint", "--keys", keys]));
    let envoy = root().join("envoy.yaml");
    let explain = |key_set: &str| {
        let arguments = [
            "explain",
            envoy.to_str().unwrap(),
            "--path",
            "/invoices",
            "--token-file",
            "-",
            "--feed",
            &feed,
            "--key-set",
            key_set,
        ];
        let done = call_with_input(&arguments, &token);
        (
            done.status.code(),
            format!("{}{}", stdout(&done), stderr(&done)),
        )
    };
    let query = "/.well-known/jwks.json?zone_id=zone-demo";
    for key_set in [
        sts.address.clone(),
        at_localhost,
        format!("http://{}", sts.address),
        format!("{}{query}", sts.address),
    ] {
        let (code, said) = explain(&key_set);
        assert_eq!(code, Some(0), "{key_set}: {said}");
    }
    // Another path is asked as it is given.
    assert_eq!(explain(&format!("{}/nothing", sts.address)).0, Some(1));

    let done = call(&["revoke", "--session", "sid-1", "--feed", &feed]);
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    assert!(companion.has_revoked("sid-1"));
    let (code, said) = explain(&sts.address);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("session_revoked"), "{said}");

    let claims = |issuer: &str| {
        let done = call(&["mint", "--keys", keys, "--json", "--issuer", issuer]);
        let said: Value = serde_json::from_slice(&done.stdout).unwrap();
        said["claims"]["iss"].as_str().unwrap().to_owned()
    };
    assert_eq!(claims(&sts.address), format!("http://{}", sts.address));
    assert_eq!(claims("sts.example.com"), "https://sts.example.com");
}

#[test]
fn redis_needs_no_scheme() {
    let redis = Redis::default();
    let address = redis.address.to_string();
    let done = call(&["revoke", "--session", "s", "--redis-url", &address]);
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    let companion = Companion::of(&address).started();
    assert!(companion.has_revoked("s"));
}
