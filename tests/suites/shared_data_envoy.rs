//! Two plugins in one real Envoy, without a `vm_id`, as Istio leaves it. One is the filter. The
//! other one plants a key set in shared data, and puts back what was there before a revocation.
//! It knows the names, which it could not without the filter's secret.

use std::net::SocketAddr;
use std::time::Duration;

use caracal_mandate::shared_record::seal::TAG_BYTES;
use caracal_tests::edge::{Around, Watch, all_answer};
use caracal_tests::envoy::{Envoy, Setup};
use caracal_tests::filter_wasm;
use caracal_tests::host::{Answer, Module, Proxy};
use caracal_tests::mint::{Key, key_set, now};
use caracal_tests::processes::{Companion, Redis, other_plugin, until};
use caracal_tests::servers::{Client, request};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
const SESSIONS: &str = "caracal.sessions.revoke";
/// How often a value is written again, so that every worker looks at it.
const TIMES: usize = 200;

/// What the filter calls its values with this configuration: the in-process host shows it.
struct Names {
    control: String,
    key_set: String,
    head: String,
    chunk: String,
}

impl Names {
    fn of(configuration: &str) -> Self {
        let mut proxy = Proxy::envoy(Module::from_file(filter_wasm()).unwrap())
            .configuration(configuration)
            .on_callout(|_| Answer::Never)
            .start()
            .unwrap();
        proxy.advance(Duration::from_secs(1));
        let names = proxy.shared_data().keys();
        let names: Vec<String> = names
            .map(|name| String::from_utf8(name.clone()).unwrap())
            .collect();
        let found = |end: &str| {
            let found = names.iter().find_map(|name| name.strip_suffix(end));
            found.unwrap_or_else(|| panic!("{end} is not among {names:?}"))
        };
        let (keys, log) = (found("/control"), found("/head"));
        Names {
            control: format!("{keys}/control"),
            key_set: format!("{keys}/key_set"),
            head: format!("{log}/head"),
            chunk: format!("{log}/0/0"),
        }
    }
}

/// The other plugin, through its listener.
struct Plugin(Client);

impl Plugin {
    fn ask(&mut self, headers: &[(&str, &str)]) -> (u16, Vec<u8>) {
        let answer = self.0.exchange(&request("GET", "/", headers)).unwrap();
        (answer.status, answer.body)
    }

    fn read(&mut self, name: &str) -> Option<Vec<u8>> {
        let (status, body) = self.ask(&[("x-name", name)]);
        (status == 200).then(|| hex::decode(body).unwrap())
    }

    #[track_caller]
    fn write(&mut self, name: &str, value: &[u8]) {
        let value = hex::encode(value);
        let (status, _) = self.ask(&[("x-name", name), ("x-value", &value)]);
        assert_eq!(status, 200);
    }
}

struct Scene {
    around: Around,
    redis: Redis,
    _companion: Companion,
    envoy: Envoy,
    edge: SocketAddr,
    names: Names,
    plugin: Plugin,
}

impl Scene {
    fn new(changes: Value) -> Self {
        let redis = Redis::default();
        let around = Around::default();
        let companion = Companion::of(&redis.url()).started();
        let mut setup: Setup = around.setup(companion.address, changes);
        let configuration = setup.configurations[0].clone();
        setup.configurations.push("{}".to_owned());
        setup.wasm_of_each = vec![filter_wasm(), other_plugin()];
        setup.vm_id = Some(String::new());
        let envoy = setup.start().unwrap_or_else(|log| panic!("{log}"));
        let plugin = Plugin(Client::connect(envoy.listener(1)));
        Scene {
            around,
            redis,
            _companion: companion,
            edge: envoy.listener(0),
            envoy,
            names: Names::of(&configuration),
            plugin,
        }
    }

    #[track_caller]
    fn answers(&self, sid: &str, status: u16, error: &str) {
        let token = self.around.of_session(sid);
        until(&format!("{status} for {sid}"), SOON, || {
            all_answer(self.edge, &token, status, error)
        });
    }

    fn refused(&self) -> u64 {
        self.envoy.metric("caracal_shared_data_refused_total")
    }
}

/// The value with a key of the plugin's in it. Its checksum is right, and its tag is the one that
/// was there, or is missing.
fn planted(stored: &[u8], with_tag: bool) -> Vec<u8> {
    let (own, tag) = stored.split_at(stored.len() - TAG_BYTES);
    let keys = key_set(&[&Key::new("k1", 9)]).to_string();
    // The magic, the generation and the time of the fetch come first.
    let mut made = [&own[..20], keys.as_bytes()].concat();
    made.extend(crc32fast::hash(&made).to_le_bytes());
    made.extend(tag.iter().filter(|_| with_tag));
    made
}

#[test]
fn another_plugin_plants_no_key_set_and_takes_no_revocation_back() {
    let mut scene = Scene::new(json!({}));
    scene.answers("free", 200, "");
    let names = &scene.names;
    let before = [&names.head, &names.chunk, &names.control, &names.key_set]
        .map(|name| (name.clone(), scene.plugin.read(name)));
    let (_, head) = &before[0];
    assert!(
        head.is_some(),
        "the filter's head is not where it should be"
    );
    let old = "old";
    let _: String = scene
        .redis
        .ask(&["XADD", SESSIONS, "*", "zone_id", "z", "session_id", old]);
    scene.answers(old, 401, "session_revoked");
    let watch = Watch::start(scene.edge, &scene.around.of_session(old));
    let stranger = Key::new("k1", 9).mandate(now(), json!({"sid": "free"}));
    let planted_key = Watch::start(scene.edge, &stranger);

    // What was there before the revocation: the head alone, and everything.
    for several in [false, true] {
        for _ in 0..TIMES {
            let all = before.iter().take(if several { before.len() } else { 1 });
            for (name, value) in all {
                scene
                    .plugin
                    .write(name, value.as_deref().unwrap_or_default());
            }
        }
    }
    until("it is counted", SOON, || scene.refused() > 0);
    let rolled_back = scene.refused();

    // A key set of the plugin's, with a tag and without, and a record that asks to read it.
    let stored = scene.plugin.read(&scene.names.key_set).unwrap();
    for with_tag in [true, false] {
        let made = planted(&stored, with_tag);
        for _ in 0..TIMES {
            scene.plugin.write(&scene.names.key_set, &made);
            let mut control = scene.plugin.read(&scene.names.control).unwrap();
            if let Some(byte) = control.get_mut(5) {
                *byte ^= 1;
            }
            scene.plugin.write(&scene.names.control, &control);
        }
    }
    until("it is counted", SOON, || scene.refused() > rolled_back);
    assert!(
        scene
            .envoy
            .logged("a value in the proxy's shared data is refused")
            > 0
    );

    // The plugin has stopped.
    scene.answers("free", 200, "");
    scene.answers(old, 401, "session_revoked");
    watch.none_was_admitted();
    planted_key.none_was_admitted();
}

/// Without a secret each worker fetches for itself, and no value of the filter's is in shared
/// data.
#[test]
fn without_a_secret_nothing_is_shared() {
    let (around, redis) = (Around::default(), Redis::default());
    let companion = Companion::of(&redis.url()).started();
    let setup = around.setup(companion.address, json!({"shared_data": {}}));
    let envoy = setup.start().unwrap_or_else(|log| panic!("{log}"));
    let (edge, token) = (envoy.listener(0), around.of_session("free"));
    until("200", SOON, || all_answer(edge, &token, 200, ""));
    assert!(envoy.logged("workers share nothing") > 0);
    // Two workers and the main thread.
    until("each has fetched", SOON, || around.sts.requests() >= 3);
    let _: String = redis.ask(&["XADD", SESSIONS, "*", "zone_id", "z", "session_id", "free"]);
    until("401", SOON, || {
        all_answer(edge, &token, 401, "session_revoked")
    });
}
