//! The ways to reach Redis: each mix of authentication, database and TLS, for a
//! server, for Sentinels, who have their own, and for a Cluster.

use super::*;
use caracal_tests::redis_topology::{Access, Certificate, Cluster, Network, Node, Sentinels, url};

/// How long one that may not get in is watched.
const WATCHED: Duration = Duration::from_secs(2);
const USER: &str = "edge";

fn with(password: bool, tls: bool, name: &str) -> Access {
    Access {
        password: password.then(|| format!("{name}-default-pass")),
        user: password.then(|| (USER.to_owned(), format!("{name}-user-pass"))),
        tls: tls.then(Certificate::default),
    }
}

/// The same server for the default user.
fn as_default(access: &Access) -> Access {
    Access {
        user: None,
        ..access.clone()
    }
}

/// Revokes in a database.
fn revoke_in(node: &Node, database: u8, sid: &str) {
    let mut connection = node.try_connection().unwrap();
    let _: (String, String) = redis::pipe()
        .cmd("SELECT")
        .arg(database)
        .cmd("XADD")
        .arg(&[SESSIONS, "*", "session_id", sid])
        .query(&mut connection)
        .unwrap();
}

/// It gets in, and takes a revocation; no password is in its log.
#[track_caller]
fn gets_in(companion: Companion, sid: &str, revoke: impl Fn(&str)) {
    let companion = companion.started();
    revoke(sid);
    until(sid, SOON, || companion.has_revoked(sid));
    assert!(!companion.log().contains("-pass"), "a password is logged");
}

/// It does not get in; no password is in its log.
#[track_caller]
fn stays_out(mut companion: Companion) {
    companion.start();
    let since = Instant::now();
    while since.elapsed() < WATCHED {
        assert!(!companion.is_ready(), "it got in");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(!companion.log().contains("-pass"), "a password is logged");
}

fn of(access: &Access, addresses: &[std::net::SocketAddr], more: &[&str]) -> Companion {
    let urls = url(access, addresses, 0);
    let mut words = vec!["--redis-url", &urls];
    if let Some(certificate) = &access.tls {
        words.extend(["--redis-ca-file", certificate.authority()]);
    }
    words.extend(more);
    Companion::new(&words)
}

#[test]
fn a_server_with_every_mix_of_authentication_database_and_tls() {
    let network = Network::default();
    let mut site = 0;
    for tls in [false, true] {
        for password in [false, true] {
            site += 1;
            let access = with(password, tls, "server");
            let mut node = Node::new(&network, site, &access);
            node.with_passwords();
            node.start();
            let at = [node.announced()];
            let mut accesses = vec![as_default(&access)];
            if password {
                accesses.push(access.clone());
            }
            for (n, access) in accesses.iter().enumerate() {
                for database in [0, 3] {
                    let urls = url(access, &at, database);
                    let mut words = vec!["--redis-url", &urls];
                    if let Some(certificate) = &access.tls {
                        words.extend(["--redis-ca-file", certificate.authority()]);
                    }
                    let sid = format!("s-{tls}-{password}-{n}-{database}");
                    gets_in(Companion::new(&words), &sid, |sid| {
                        revoke_in(&node, database, sid);
                    });
                }
            }
            let mut wrong = as_default(&access);
            if password {
                wrong.password = Some("wrong-pass".to_owned());
                stays_out(of(&wrong, &at, &[]));
                wrong = access.clone();
                wrong.user = Some((USER.to_owned(), "wrong-pass".to_owned()));
                stays_out(of(&wrong, &at, &[]));
            }
            if tls {
                wrong = access.clone();
                wrong.tls = Some(Certificate::default());
                stays_out(of(&wrong, &at, &[]));
                stays_out(Companion::of(&url(&access, &at, 0)));
            }
        }
    }
}

/// The users of docs/companion.md, as they stand there. The suite `operations` takes their
/// rights away one by one.
#[test]
fn users_with_no_more_than_they_need() {
    let redis = Redis::default();
    let readme = std::fs::read_to_string(caracal_tests::root().join("docs/companion.md")).unwrap();
    let rules: Vec<&str> = readme.lines().filter(|l| l.starts_with("user ")).collect();
    assert_eq!(rules.len(), 4, "{rules:?}");
    for rule in rules {
        let rule = rule.replace("PASSWORD", "its-pass");
        let words: Vec<&str> = rule.split(' ').skip(1).collect();
        let _: String = redis.ask(&[&["ACL", "SETUSER"], &words[..]].concat());
    }
    let url = format!("redis://companion:its-pass@{}", redis.address);
    let companion = Companion::of(&url).started();
    revoke(&redis, "by-acl");
    until("by ACL", SOON, || companion.has_revoked("by-acl"));
    until("shared", SOON, || {
        redis.ask::<bool>(&["EXISTS", "caracal:revoked:sessions:by-acl"])
    });
    until("acknowledged", SOON, || pending(&redis, SESSIONS) == 0);
    let may = |words: &[&str]| {
        let all = [&["ACL", "DRYRUN", "publisher"], words].concat();
        redis.ask::<String>(&all) == "OK"
    };
    assert!(may(&["XADD", SESSIONS, "*", "sid", "s"]));
    assert!(may(&["XADD", DELEGATIONS, "*", "zone_id", "z"]));
    assert!(!may(&["XADD", "caracal.audit.events", "*", "a", "b"]));
    assert!(!may(&["XTRIM", SESSIONS, "MAXLEN", "0"]));
    assert!(!may(&["XREAD", "STREAMS", SESSIONS, "0"]));
    assert!(!may(&["DEL", "caracal:revoked:sessions:s"]));
}

/// Servers and Sentinels that each demand what they like.
fn sentinels(server: (bool, bool), own: (bool, bool), databases: [u8; 2]) {
    let access = with(server.0, server.1, "server");
    let demanded = with(own.0, own.1, "sentinel");
    let all = Sentinels::start(&access, &demanded);
    let ways = [
        (access.clone(), demanded.clone(), databases[0]),
        (as_default(&access), as_default(&demanded), databases[1]),
    ];
    for (n, (access, own, database)) in ways.iter().enumerate() {
        let companion = all.companion_as(access, own, *database);
        gets_in(companion, &format!("s-{n}"), |sid| {
            revoke_in(&all.servers[0], *database, sid);
        });
    }
    let mut wrong = as_default(&demanded);
    if own.0 {
        wrong.password = Some("wrong-pass".to_owned());
        stays_out(all.companion_as(&access, &wrong, 0));
        // The master's password is not theirs.
        wrong.password = access.password.clone();
        stays_out(all.companion_as(&access, &wrong, 0));
    }
    if own.1 {
        wrong = demanded.clone();
        wrong.tls = Some(Certificate::default());
        stays_out(all.companion_as(&access, &wrong, 0));
    }
    if server.1 {
        wrong = access.clone();
        wrong.tls = Some(Certificate::default());
        stays_out(all.companion_as(&wrong, &demanded, 0));
    }
    if server.0 {
        wrong = as_default(&access);
        wrong.password = Some("wrong-pass".to_owned());
        stays_out(all.companion_as(&wrong, &demanded, 0));
    }
}

#[test]
fn sentinels_with_passwords_and_tls_before_servers_without() {
    sentinels((false, false), (true, true), [0, 3]);
}

#[test]
fn sentinels_with_passwords_before_servers_with_tls() {
    sentinels((false, true), (true, false), [3, 0]);
}

#[test]
fn sentinels_with_tls_before_servers_with_passwords() {
    sentinels((true, false), (false, true), [0, 3]);
}

#[test]
fn sentinels_and_servers_with_passwords_and_tls_of_their_own() {
    sentinels((true, true), (true, true), [3, 0]);
}

#[test]
fn sentinels_without_anything_before_servers_with_all() {
    sentinels((true, true), (false, false), [0, 3]);
}

#[test]
fn a_cluster_with_and_without_passwords_and_tls() {
    for (password, tls) in [(true, true), (true, false)] {
        let access = with(password, tls, "cluster");
        let all = Cluster::start(&access);
        let at: Vec<_> = all.nodes.iter().map(Node::announced).collect();
        let plain: Vec<_> = all.nodes.iter().map(|node| node.plain.address).collect();
        let without = Access {
            tls: None,
            ..access.clone()
        };
        let owner = &all.nodes[all.owner(SESSIONS).unwrap()];
        let ways = [
            (access.clone(), &at),
            (as_default(&access), &at),
            (without, &plain),
        ];
        for (n, (access, at)) in ways.iter().enumerate() {
            let companion = of(access, at, &["--redis-cluster"]);
            gets_in(companion, &format!("s-{n}"), |sid| {
                owner.revoke(sid);
            });
        }
        let mut wrong = as_default(&access);
        wrong.password = Some("wrong-pass".to_owned());
        stays_out(of(&wrong, &at, &["--redis-cluster"]));
        if tls {
            wrong = access.clone();
            wrong.tls = Some(Certificate::default());
            stays_out(of(&wrong, &at, &["--redis-cluster"]));
        }
    }
}

#[test]
fn a_cluster_of_one_is_read_whole() {
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
