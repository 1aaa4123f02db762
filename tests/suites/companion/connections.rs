//! The ways to reach Redis.

use super::*;

#[test]
fn it_is_reached_with_a_password_an_acl_user_tls_sentinel_and_cluster() {
    // A password, and an ACL user who may do just what is needed.
    let redis = Redis::start(&[
        "--requirepass",
        "secret-pass",
        "--user",
        "edge",
        "on",
        ">edge-pass",
        "~caracal*",
        "+@all",
        "-@dangerous",
        "+info",
    ]);
    let port = redis.address.port();
    for user in ["default:secret-pass", "edge:edge-pass"] {
        let companion = Companion::of(&format!("redis://{user}@127.0.0.1:{port}")).started();
        assert!(!companion.log().contains("-pass"));
    }
    let mut wrong = Companion::of(&format!("redis://default:wrong-pass@127.0.0.1:{port}"));
    wrong.start();
    std::thread::sleep(Duration::from_secs(1));
    assert!(!wrong.is_ready());
    assert!(!wrong.log().contains("wrong-pass"), "{}", wrong.log());

    // TLS, by a CA of its own.
    let tls = folder("tls");
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (pem, key) = (tls.join("cert.pem"), tls.join("key.pem"));
    std::fs::write(&pem, certificate.cert.pem()).unwrap();
    std::fs::write(&key, certificate.signing_key.serialize_pem()).unwrap();
    let (pem, key) = (pem.to_str().unwrap(), key.to_str().unwrap());
    let tls_port = free_address().port().to_string();
    let redis = Redis::start(&[
        "--tls-port",
        &tls_port,
        "--tls-cert-file",
        pem,
        "--tls-key-file",
        key,
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://localhost:{tls_port}");
    let companion = Companion::new(&["--redis-url", &url, "--redis-ca-file", pem]).started();
    revoke(&redis, "by-tls");
    until("by TLS", SOON, || companion.has_revoked("by-tls"));
    let mut distrusting = Companion::of(&url);
    distrusting.start();
    std::thread::sleep(Duration::from_secs(1));
    assert!(!distrusting.is_ready(), "an unknown CA is trusted");

    // The master that a Sentinel names.
    let redis = Redis::default();
    let sentinel = Redis::start_sentinel(redis.address);
    let url = format!("redis://{}", sentinel.address);
    let companion =
        Companion::new(&["--redis-url", &url, "--redis-sentinel-master", "caracal"]).started();
    revoke(&redis, "by-sentinel");
    until("by Sentinel", SOON, || companion.has_revoked("by-sentinel"));

    // A cluster of one.
    let redis = Redis::start(&["--cluster-enabled", "yes"]);
    let () = redis.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    until("the cluster is up", SOON, || {
        redis
            .ask::<String>(&["CLUSTER", "INFO"])
            .contains("cluster_state:ok")
    });
    let () = redis.ask(&[
        "SET",
        "caracal:revoked:sessions:in-store",
        "1",
        "PX",
        "60000",
    ]);
    let companion = Companion::new(&["--redis-url", &redis.url(), "--redis-cluster"]).started();
    revoke(&redis, "by-cluster");
    until("by the cluster", SOON, || {
        companion.has_revoked("by-cluster")
    });
    assert!(companion.has_revoked("in-store"));
    until("acknowledged", SOON, || pending(&redis, SESSIONS) == 0);
}
