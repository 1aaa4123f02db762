//! The rights of docs/companion.md, given to users of a real Redis: they suffice for
//! everything, and without any one of them something fails and is reported.

use std::path::PathBuf;
use std::process::Command;

use caracal_tests::mint::{AUDIENCE, ZONE};
use caracal_tests::processes::{Process, Sts};
use caracal_tests::root;

use super::rotation::post_event;
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
        post_event(&companion, 1);
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
        says_refused(&self.companion.log())
    }
}

/// Redis says it in several ways, in a log as JSON.
fn says_refused(text: &str) -> bool {
    let ways = ["NOPERM", "o permissions", "t run this command"];
    ways.iter().any(|way| text.contains(way))
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
struct Reads {
    url: String,
    log: PathBuf,
    _tail: Process,
}

impl Reads {
    fn start(url: &str) -> Self {
        let log = folder("tail").join("log");
        let tail = Process::start(Reads::command(url).arg("tail"), &log);
        Reads {
            url: url.to_owned(),
            log,
            _tail: tail,
        }
    }

    fn command(url: &str) -> Command {
        let mut command = Command::new(root().join("dist/caracal-edge"));
        command.env("AUDIT_HMAC_KEY", KEY).env("REDIS_URL", url);
        command
    }

    /// What `tail` has said so far, complaints too.
    fn followed(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// What `explain` says, complaints too.
    fn explained(&self) -> String {
        let mut command = Reads::command(&self.url);
        let done = command.args(["explain", "--request-id", "r-1"]).output();
        let done = done.unwrap();
        String::from_utf8([done.stdout, done.stderr].concat()).unwrap()
    }
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
        let _: String = scene.redis.ask(&["ACL", "LOG", "RESET"]);
    };
    give(None);
    let reads = Reads::start(&url);
    until("tail shows what was there", SOON, || {
        reads.followed().contains("r-1")
    });
    post_event(&scene.companion, 2);
    until("tail follows", SOON, || reads.followed().contains("r-2"));
    until("explain finds it", SOON, || {
        reads.explained().contains("ADMITTED")
    });
    assert_eq!(refused(&scene.redis), Vec::<String>::new());
    assert!(!says_refused(&reads.followed()), "{}", reads.followed());
    drop(reads);
    for right in takable(&rights) {
        give(Some(&right));
        let reads = Reads::start(&url);
        let what = format!("without {right} Redis refuses something, and the reader says so");
        until(&what, SOON, || {
            let is_said = says_refused(&reads.followed()) || says_refused(&reads.explained());
            is_said && !refused(&scene.redis).is_empty()
        });
    }
}
