//! The rights of docs/companion.md, given to users of a real Redis: they suffice for
//! everything, and without any one of them something fails and is reported.

use std::process::Command;

use caracal_tests::mint::{AUDIENCE, ZONE, now};
use caracal_tests::processes::Sts;
use caracal_tests::root;

use super::*;

const EPOCH: &str = "caracal:revoked:sessions:delegation-epoch:z";

/// The words of the lines for a user, as they stand in the page; later lines add to the first.
fn rights(user: &str) -> Vec<String> {
    let page = std::fs::read_to_string(root().join("docs/companion.md")).unwrap();
    let start = format!("user {user} ");
    let lines = page.lines().filter_map(|line| line.strip_prefix(&start));
    let words = lines.flat_map(|line| line.split(' '));
    words
        .map(|word| word.replace("PASSWORD", "its-pass"))
        .collect()
}

/// What can be taken away: commands and patterns of keys.
fn takable(rights: &[String]) -> Vec<String> {
    let all = rights.iter();
    all.filter(|word| word.starts_with('+') || word.starts_with('~'))
        .cloned()
        .collect()
}

/// A Redis with a user who has these rights but one.
fn redis_with(user: &str, rights: &[String], without: Option<&str>) -> (Redis, String) {
    let redis = Redis::start(&[]);
    let mut words = vec!["ACL", "SETUSER", user];
    let kept = rights.iter().map(String::as_str);
    words.extend(kept.filter(|word| Some(*word) != without));
    let _: String = redis.ask(&words);
    let url = format!("redis://{user}:its-pass@{}", redis.address);
    (redis, url)
}

/// What Redis has refused: commands and keys.
fn refused(redis: &Redis) -> Vec<String> {
    let log: Vec<BTreeMap<String, redis::Value>> = redis.ask(&["ACL", "LOG"]);
    let object = |entry: &BTreeMap<String, redis::Value>| {
        redis::from_redis_value::<String>(entry["object"].clone()).unwrap()
    };
    let mut all: Vec<String> = log.iter().map(object).collect();
    all.sort();
    all
}

/// A companion that does everything it can.
struct Scene {
    redis: Redis,
    companion: Companion,
    sts: Sts,
    mandate: String,
}

impl Scene {
    fn new(without: Option<&str>) -> Self {
        let (redis, url) = redis_with("companion", &rights("companion"), without);
        // What only other connectors have noted, and a message of before the start.
        for (key, value) in [("caracal:revoked:sessions:noted", "1"), (EPOCH, "3")] {
            let _: String = redis.ask(&["SET", key, value, "PX", "3600000"]);
        }
        revoke(&redis, "before");
        let resources = json!({AUDIENCE: {
            "scopes": ["billing:read"], "upstream_url": "https://upstream.test", "decision": "allow",
        }});
        let sts = Sts::start(&[ZONE], &resources);
        let audit = folder("audit");
        let mut companion = Companion::of(&url)
            .gateway(&sts.url())
            .with(&["--audit-dir", audit.to_str().unwrap()])
            .environment("AUDIT_HMAC_KEY", KEY)
            .token(TOKEN);
        companion.start();
        let event = json!({
            "id": "01980000-0000-7000-8000-000000000001", "occurred_at_us": now() * 1_000_000,
            "zone_id": ZONE, "event_type": "edge_resource_request", "request_id": "r-1",
            "decision": "allow", "evaluation_status": "executed",
        });
        let taken = companion.post("/v1/audit", &json!({ "events": [event] }), None);
        assert_eq!(taken.status, 200);
        revoke(&redis, "after");
        let _: String = redis.ask(&["XADD", SESSIONS, "*", "nonsense", "x"]);
        let raised = [
            "XADD",
            "caracal.delegations.invalidate",
            "*",
            "zone_id",
            "z",
            "epoch",
            "4",
        ];
        let _: String = redis.ask(&raised);
        let mandate = sts.mandate(AUDIENCE);
        Scene {
            redis,
            companion,
            sts,
            mandate,
        }
    }

    /// Whether all its work is done.
    fn is_done(&self) -> bool {
        let exists = |key: &str| self.redis.ask::<bool>(&["EXISTS", key]);
        let length = |stream: &str| self.redis.ask::<usize>(&["XLEN", stream]);
        let sids = ["noted", "before", "after"];
        self.companion.is_ready()
            && sids.iter().all(|sid| self.companion.has_revoked(sid))
            && exists("caracal:revoked:sessions:before")
            && exists("caracal:revoked:sessions:after")
            && exists("caracal:edge:covered:{caracal.sessions.revoke}")
            && self.redis.ask::<String>(&["GET", EPOCH]) == "4"
            && length("caracal.sessions.revoke.dead") == 1
            && length(STREAM) == 1
            && self.pending() == 0
            && self.is_exchanged()
    }

    fn pending(&self) -> usize {
        let summary: (usize, redis::Value, redis::Value, redis::Value) =
            self.redis.ask(&["XPENDING", SESSIONS, "caracal-edge"]);
        summary.0
    }

    fn consumers(&self) -> usize {
        let words = ["XINFO", "CONSUMERS", SESSIONS, "caracal-edge"];
        self.redis.ask::<Vec<redis::Value>>(&words).len()
    }

    fn is_exchanged(&self) -> bool {
        if self.sts.exchanges() == 0 {
            let question = json!({
                "mandate": self.mandate, "resource": AUDIENCE, "method": "GET",
                "path": "/invoices", "request_id": "r-1",
            });
            self.companion.post("/v1/exchange", &question, None);
        }
        self.sts.exchanges() == 1
            && self.redis.ask::<Vec<String>>(&["KEYS", "seen:jti:*"]).len() == 1
    }

    /// Whether it says that Redis refuses something.
    fn reports(&self) -> bool {
        let log = self.companion.log();
        // Redis says it in several ways, in the log as JSON.
        let refused = ["NOPERM", "o permissions", "t run this command"];
        refused.iter().any(|text| log.contains(text))
    }
}

#[test]
fn the_rights_of_a_companion_suffice() {
    let mut scene = Scene::new(None);
    until("everything is done", SOON, || scene.is_done());
    assert_eq!(scene.companion.stop(), Some(0));
    assert_eq!(scene.consumers(), 0, "it has left its group");
    assert_eq!(refused(&scene.redis), Vec::<String>::new());
}

#[test]
fn a_companion_needs_each_of_its_rights() {
    let all = takable(&rights("companion"));
    assert!(all.len() > 20, "{all:?}");
    let next = Arc::new(Mutex::new(all.into_iter()));
    let tries = |next: Arc<Mutex<std::vec::IntoIter<String>>>| {
        let take = || next.lock().unwrap().next();
        while let Some(right) = take() {
            let mut scene = Scene::new(Some(&right));
            if right == "+xgroup|delconsumer" {
                // It cannot leave its group.
                until("everything else is done", SOON, || scene.is_done());
                scene.companion.stop();
                assert_eq!(scene.consumers(), 1);
                continue;
            }
            let what = format!("without {right} Redis refuses something, and the log says so");
            until(&what, SOON, || {
                scene.is_done();
                !refused(&scene.redis).is_empty() && scene.reports()
            });
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| tries(Arc::clone(&next)));
        }
    });
}

/// `tail` and `explain` in Redis, by the commands of the page.
fn reads(url: &str) -> [bool; 3] {
    let run = |words: &[&str]| {
        Command::new("timeout")
            .arg("2")
            .arg(root().join("dist/caracal-edge"))
            .args(words)
            .env("AUDIT_HMAC_KEY", KEY)
            .env("REDIS_URL", url)
            .output()
            .unwrap()
    };
    let has = |done: &std::process::Output, text: &str| {
        String::from_utf8_lossy(&done.stdout).contains(text)
    };
    let (follows, explained) = (run(&["tail"]), run(&["explain", "--request-id", "r-1"]));
    [
        has(&follows, "r-1"),
        // It follows, and has nothing to complain of.
        follows.stderr.is_empty(),
        has(&explained, "ADMITTED"),
    ]
}

#[test]
fn who_reads_decisions_needs_each_of_its_rights() {
    let scene = Scene::new(None);
    until("the event is there", SOON, || {
        scene.redis.ask::<usize>(&["XLEN", STREAM]) == 1
    });
    let rights = rights("reader");
    let url = format!("redis://reader:its-pass@{}", scene.redis.address);
    let give = |without: Option<&str>| {
        let kept = rights.iter().map(String::as_str);
        let kept = kept.filter(|word| Some(*word) != without);
        let words: Vec<&str> = ["ACL", "SETUSER", "reader", "reset"]
            .into_iter()
            .chain(kept)
            .collect();
        let _: String = scene.redis.ask(&words);
    };
    give(None);
    assert_eq!(reads(&url), [true; 3]);
    for right in takable(&rights) {
        give(Some(&right));
        assert_ne!(reads(&url), [true; 3], "without {right}");
    }
}
