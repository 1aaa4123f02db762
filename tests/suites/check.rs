//! `caracal-edge check` with proxies' files, for one request, and of two
//! configurations: what it says is let through in addition is held against what the
//! core admits, over a grid of requests and mandates.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use caracal_mandate::cache::MandateCache;
use caracal_mandate::config::{Configuration, Revocation};
use caracal_mandate::decide::{Context, RequestView, Screened, Verdict, Verifier};
use caracal_mandate::keys::KeySet;
use caracal_mandate::requirements::RuleId;
use caracal_mandate::revocation::{AnchorId, Availability, RevocationView};
use caracal_mandate::signature::PureRust;
use caracal_tests::mint::{Key, claims, configuration};
use caracal_tests::root;
use serde_json::{Value, json};

const NOW: u64 = 1_767_225_600;

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("caracal-check-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn call(arguments: &[&str]) -> Output {
    Command::new(root().join("dist/caracal-edge"))
        .arg("check")
        .args(arguments)
        .env_remove("CARACAL_STS_URL")
        .env_remove("CARACAL_ZONE_ID")
        .output()
        .unwrap()
}

/// What is said of two configurations, and the exit status.
fn compare(name: &str, old: &Value, new: &Value) -> (Value, String, i32) {
    let folder = folder(name);
    let file = |name: &str, content: &Value| {
        let file = folder.join(name);
        fs::write(&file, content.to_string()).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (old, new) = (file("old.json", old), file("new.json", new));
    let done = call(&[&new, "--against", &old, "--json"]);
    let words = call(&[&new, "--against", &old]);
    assert_eq!(done.status.code(), words.status.code());
    let _ = fs::remove_dir_all(&folder);
    let said = serde_json::from_slice(&done.stdout);
    let said = said.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&done.stderr)));
    let words = String::from_utf8(words.stdout).unwrap();
    (said, words, done.status.code().unwrap())
}

/// What is the matter around a request, besides itself.
#[derive(Debug, Clone, Copy, Default)]
struct World {
    /// `sid-1` is revoked.
    revoked: bool,
    epoch: u64,
    state_age_s: u64,
    anchors: u64,
    /// For how long the key set could not be refreshed.
    key_set_age_s: u64,
    /// For how long the key is withdrawn; a key set lives for its time.
    withdrawn_s: Option<u64>,
}

struct View<'a>(&'a Configuration, World);

impl RevocationView for View<'_> {
    fn availability(&self) -> Availability {
        let View(configuration, world) = self;
        match &configuration.revocation {
            Revocation::Disabled(_) => Availability::Ready,
            Revocation::Feed(feed)
                if world.state_age_s > feed.max_staleness_s
                    || world.anchors > configuration.limits.max_anchors =>
            {
                Availability::Unavailable("in the test")
            }
            Revocation::Feed(_) => Availability::Ready,
        }
    }

    fn is_revoked(&self, anchor: AnchorId) -> bool {
        let is_asked = matches!(self.0.revocation, Revocation::Feed(_));
        is_asked && self.1.revoked && anchor == AnchorId::of("sid-1")
    }

    fn delegation_epoch(&self) -> u64 {
        match self.0.revocation {
            Revocation::Feed(_) => self.1.epoch,
            Revocation::Disabled(_) => 0,
        }
    }
}

#[derive(Debug, Clone)]
struct Mandate {
    claims: Value,
    token: String,
    algorithm: &'static str,
}

struct Keys {
    es256: Key,
    eddsa: ed25519_compact::KeyPair,
}

impl Keys {
    fn new() -> Self {
        Keys {
            es256: Key::new("k1", 1),
            eddsa: ed25519_compact::KeyPair::from_seed(ed25519_compact::Seed::new([7; 32])),
        }
    }

    fn set(&self) -> Value {
        let x = BASE64.encode(self.eddsa.pk.as_ref());
        json!({"keys": [self.es256.jwk(),
            {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "k2", "x": x}]})
    }

    fn sign(&self, claims: &Value, algorithm: &'static str) -> Mandate {
        let token = match algorithm {
            "EdDSA" => {
                let part = |part: &Value| BASE64.encode(part.to_string());
                let header = json!({"alg": "EdDSA", "kid": "k2"});
                let input = format!("{}.{}", part(&header), part(claims));
                let signature = self.eddsa.sk.sign(&input, None);
                format!("{input}.{}", BASE64.encode(signature.as_ref()))
            }
            _ => self.es256.sign(claims),
        };
        let claims = claims.clone();
        Mandate {
            claims,
            token,
            algorithm,
        }
    }
}

/// A mandate that satisfies nearly everything, and ways in which one may be less.
fn mandates(keys: &Keys) -> Vec<Mandate> {
    let base = claims(
        NOW,
        json!({
            "scope": "a b c", "target": ["t1", "t2"], "agent_session_id": "agent-1",
            "delegation_edge_id": "edge-1", "hop_count": 0, "delegation_graph_epoch": 5,
            "delegation_chain": [{"application_id": "app-1"}, {"application_id": "app-2"}],
        }),
    );
    let ways = [
        json!({"scope": "a b"}),
        json!({"scope": "a c"}),
        json!({"scope": "b"}),
        json!({"scope": null}),
        json!({"target": ["t1"]}),
        json!({"target": null}),
        json!({"agent_session_id": null}),
        json!({"delegation_edge_id": null}),
        json!({"delegation_chain": [{"application_id": "app-1"}]}),
        json!({"delegation_chain": null}),
        json!({"hop_count": 2}),
        json!({"hop_count": 3}),
        json!({"hop_count": 11}),
        json!({"use": "session"}),
        json!({"aud": "resource://other"}),
        json!({"aud": ["resource://billing-api", "resource://other"]}),
        json!({"aud": "resource://third"}),
        json!({"iss": "https://other.example.test"}),
        json!({"zone_id": "zone-2"}),
        json!({"iat": NOW + 61}),
        json!({"iat": NOW + 60}),
        json!({"nbf": NOW + 120}),
        json!({"nbf": NOW + 121}),
        json!({"filling": "x".repeat(7_000)}),
        json!({"sid": "sid-2"}),
        json!({"delegation_graph_epoch": null}),
    ];
    let mut changes = vec![json!({})];
    for (n, one) in ways.iter().enumerate() {
        changes.push(one.clone());
        for other in &ways[n + 1..] {
            let mut both = one.clone();
            for (name, value) in other.as_object().unwrap() {
                both[name] = value.clone();
            }
            changes.push(both);
        }
    }
    let changed = |change: &Value| {
        let mut claims = base.clone();
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            }
        }
        claims
    };
    let mut all: Vec<Mandate> = changes
        .iter()
        .map(|c| keys.sign(&changed(c), "ES256"))
        .collect();
    all.push(keys.sign(&changed(&json!({})), "EdDSA"));
    all.push(keys.sign(&changed(&json!({"scope": "a b"})), "EdDSA"));
    all
}

/// A request without its mandate.
#[derive(Debug, Clone)]
struct Asked {
    method: String,
    path: String,
    host: Option<String>,
    names: Vec<String>,
}

/// One edge of a pair.
struct Edge {
    configuration: Configuration,
    verifier: Verifier,
    keys: KeySet,
    cache: MandateCache,
}

impl Edge {
    fn new(document: &Value, keys: &Keys) -> Self {
        let document = document.to_string();
        let configuration = Configuration::from_json(document.as_bytes(), &|_| None).unwrap();
        let set = keys.set().to_string();
        Edge {
            verifier: Verifier::from(&configuration),
            keys: KeySet::parse(set.as_bytes(), &configuration.algorithms).unwrap(),
            configuration,
            cache: MandateCache::new(10_000),
        }
    }

    fn admits(&mut self, asked: &Asked, mandate: Option<&Mandate>, world: World) -> bool {
        let value = mandate.map(|mandate| format!("Bearer {}", mandate.token));
        let authorization: Vec<&[u8]> = value.iter().map(String::as_bytes).collect();
        let names: Vec<&[u8]> = asked.names.iter().map(String::as_bytes).collect();
        let view = RequestView {
            method: Some(asked.method.as_bytes()),
            target: Some(asked.path.as_bytes()),
            authority: asked.host.as_deref().map(str::as_bytes),
            resource: &names,
            authorization: &authorization,
        };
        let jwks = &self.configuration.jwks;
        // A set that was fetched just before the key was withdrawn serves for its time.
        let has_keys = world.key_set_age_s <= jwks.ttl_s + jwks.max_stale_s
            && world.withdrawn_s.is_none_or(|age| age <= jwks.ttl_s);
        let context = Context {
            keys: Some(&self.keys).filter(|_| has_keys),
            revocation: &View(&self.configuration, world),
            signatures: &PureRust,
            now: NOW,
        };
        match self.verifier.screen(&view, &self.cache) {
            Err(_) => false,
            Ok(Screened::Excluded) => true,
            Ok(Screened::Credential(credential)) => {
                let verdict = self.verifier.decide(&credential, context, &mut self.cache);
                matches!(verdict, Verdict::Admitted(_))
            }
        }
    }

    fn excludes(&self, asked: &Asked) -> bool {
        let names: Vec<&[u8]> = asked.names.iter().map(String::as_bytes).collect();
        let location = self.verifier.locate(&RequestView {
            method: Some(asked.method.as_bytes()),
            target: Some(asked.path.as_bytes()),
            authority: asked.host.as_deref().map(str::as_bytes),
            resource: &names,
            authorization: &[],
        });
        matches!(location.rule, Some(RuleId::Excluded(_)))
    }
}

/// What `check` says, read by somebody else, and the two configurations' text.
struct Said(Value, String);

impl Said {
    fn lets_through(
        &self,
        asked: &Asked,
        mandate: Option<&Mandate>,
        world: World,
        old: &Edge,
    ) -> bool {
        let holds = |extra: &Value| extra_holds(extra, mandate, world);
        let everywhere = self.0["everywhere"].as_array().unwrap();
        if everywhere.iter().any(holds) && mandate.is_some() && !old.excludes(asked) {
            return true;
        }
        let findings = self.0["findings"].as_array().unwrap();
        findings.iter().any(|finding| {
            is_chosen(&finding["choices"], asked, &self.1)
                && is_method(&finding["methods"], &asked.method)
                && is_path(&finding["paths"], &asked.path)
                && finding["extra"].as_array().unwrap().iter().any(holds)
        })
    }
}

fn is_chosen(choices: &Value, asked: &Asked, configured: &str) -> bool {
    let choices = choices.as_array().unwrap();
    let is_known = |text: &str| configured.contains(&format!("{text:?}"));
    let header = |choice: &Value| match (&choice["header"], asked.names.as_slice()) {
        (Value::String(word), []) => word == "absent",
        (Value::String(word), [one]) => word == "unknown" && !is_known(one),
        (Value::String(word), _) => word == "several",
        (is, [one]) => is["is"] == one.as_str(),
        _ => false,
    };
    let host = |choice: &Value| match (&choice["host"], asked.host.as_deref()) {
        (Value::String(word), None) => word == "any" || word == "unreadable",
        (Value::String(word), Some(host)) => word == "any" || word == "other" && !is_known(host),
        (is, Some(host)) => is["is"] == host,
        _ => false,
    };
    choices.is_empty() || choices.iter().any(|one| header(one) && host(one))
}

fn is_method(methods: &Value, method: &str) -> bool {
    methods.as_array().unwrap().iter().any(|one| {
        let text = |name: &str| one[name].as_str();
        if let Some(name) = text("is") {
            return name == method;
        }
        if let Some(name) = text("in_other_letters") {
            return name != method && name.eq_ignore_ascii_case(method);
        }
        let but = one["other"].as_array().unwrap();
        !but.iter()
            .any(|name| name.as_str().unwrap().eq_ignore_ascii_case(method))
    })
}

fn is_in(region: &Value, path: &str) -> bool {
    let under = |prefix: &str| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let except = region["except"].as_array().unwrap();
    under(region["prefix"].as_str().unwrap()) && !except.iter().any(|p| under(p.as_str().unwrap()))
}

fn is_path(paths: &Value, path: &str) -> bool {
    let in_one = |regions: &Value, path: &str| {
        let mut regions = regions.as_array().unwrap().iter();
        regions.any(|region| is_in(region, path))
    };
    if let Some(between) = paths["between"].as_array() {
        // The strange paths of the grid have dot segments and nothing else: they are
        // read as they are, and resolved.
        let readings = [path.to_owned(), resolved(path)];
        let groups = readings
            .iter()
            .map(|path| between.iter().position(|g| in_one(g, path)));
        let groups: Vec<Option<usize>> = groups.collect();
        return groups.iter().all(Option::is_some) && groups[0] != groups[1];
    }
    in_one(&paths["under"], path)
}

fn resolved(path: &str) -> String {
    let mut kept = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            ".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    format!("/{}", kept.join("/"))
}

fn extra_holds(extra: &Value, mandate: Option<&Mandate>, world: World) -> bool {
    let what = extra["what"].as_str().unwrap();
    if what == "any_request" {
        return true;
    }
    let Some(mandate) = mandate else {
        return false;
    };
    let claim = |name: &str| mandate.claims.get(name);
    let text = |name: &str| claim(name).and_then(Value::as_str).unwrap_or_default();
    let within = |from: &str, to: &str, n: u64| {
        (extra[from].as_u64().unwrap()..=extra[to].as_u64().unwrap()).contains(&n)
    };
    let lacks = |list: &str, has: &dyn Fn(&str) -> bool| {
        let list = extra[list].as_array().unwrap();
        list.iter().any(|one| !has(one.as_str().unwrap()))
    };
    let audience = |one: &Value| match claim("aud") {
        Some(Value::Array(all)) => all.contains(one),
        other => other == Some(one),
    };
    match what {
        "any_mandate" => true,
        "without_scopes" => lacks("scopes", &|one| text("scope").split(' ').any(|s| s == one)),
        "without_targets" => lacks("targets", &|one| {
            let all = claim("target").and_then(Value::as_array);
            all.is_some_and(|all| all.contains(&json!(one)))
        }),
        "without_in_chain" => lacks("applications", &|one| {
            let all = claim("delegation_chain").and_then(Value::as_array);
            all.is_some_and(|all| all.iter().any(|hop| hop["application_id"] == one))
        }),
        "use" => text("use") == extra["token_use"],
        "without_session" => claim("agent_session_id").is_none(),
        "without_delegation" => claim("delegation_edge_id").is_none(),
        "hops" => within(
            "from",
            "to",
            claim("hop_count").and_then(Value::as_u64).unwrap_or(0),
        ),
        "audience" => audience(&extra["audience"]) && !audience(&extra["without"]),
        "issuer" => text("iss") == extra["issuer"],
        "zone" => text("zone_id") == extra["zone"],
        "algorithms" => extra["algorithms"]
            .as_array()
            .unwrap()
            .contains(&json!(mandate.algorithm)),
        "ahead" => ["iat", "nbf"].iter().any(|name| {
            let time = claim(name).and_then(Value::as_u64).unwrap_or(0);
            within("from_s", "to_s", time.saturating_sub(NOW))
        }),
        "token_bytes" => within("from", "to", mandate.token.len() as u64),
        "revoked" => {
            let stale = claim("delegation_graph_epoch").and_then(Value::as_u64);
            (world.revoked && text("sid") == "sid-1")
                || stale.is_some_and(|epoch| world.epoch > epoch)
                || world.state_age_s > 0
                || world.anchors > 0
        }
        "state_age" => within("from_s", "to_s", world.state_age_s),
        "anchors" => within("from", "to", world.anchors),
        "withdrawn_key" => world
            .withdrawn_s
            .is_some_and(|age| within("from_s", "to_s", age)),
        "key_set_age" => within("from_s", "to_s", world.key_set_age_s),
        other => panic!("{other} is not known"),
    }
}

struct Pair {
    name: &'static str,
    old: Value,
    new: Value,
    /// What the words must have.
    words: &'static [&'static str],
}

fn pairs() -> Vec<Pair> {
    let feed = json!({"upstream": "feed"});
    let edge = |changes: Value| {
        let mut edge = configuration(json!({"revocation": feed, "required_scopes": ["a"]}));
        for (name, value) in changes.as_object().unwrap() {
            edge[name] = value.clone();
            if value.is_null() {
                edge.as_object_mut().unwrap().remove(name);
            }
        }
        edge
    };
    let pair = |name, old: Value, new: Value, words| Pair {
        name,
        old: edge(old),
        new: edge(new),
        words,
    };
    let on = |name: &str, requires: Value| json!({"routes": {name: requires}});
    vec![
        pair("same", json!({}), json!({}), &["lets nothing through"]),
        pair(
            "stricter",
            json!({"exclude": ["/h"]}),
            json!({"required_scopes": ["a", "b"], "max_hop_count": 2, "clock_skew_s": 0}),
            &[],
        ),
        pair(
            "a scope less",
            on("/p", json!({"required_scopes": ["a", "b"]})),
            on("/p", json!({"required_scopes": ["a"]})),
            &["/p/*: also mandates without scope \"b\""],
        ),
        pair(
            "other scopes",
            json!({"required_scopes": ["a", "b"]}),
            json!({"required_scopes": ["c"]}),
            &["/*: also mandates without scope one of \"a\", \"b\""],
        ),
        pair(
            "a prefix excluded",
            json!({"routes": {"/p": {"require_session": true}}}),
            json!({"routes": {"/p": {"require_session": true}}, "exclude": ["/p/open", "/h"]}),
            &["/h/*, /p/open/*: also requests without a mandate"],
        ),
        pair(
            "a route removed",
            json!({"routes": {"/p": {"required_scopes": ["b"], "require_delegation": true}, "/q": {"require_session": true}}}),
            json!({}),
            &[
                "can be read under more than one of",
                "without scope \"b\"",
                "not delegated",
            ],
        ),
        pair(
            "audience",
            json!({}),
            json!({"audience": "resource://other"}),
            &["for audience \"resource://other\" that are not for \"resource://billing-api\""],
        ),
        pair(
            "session and delegation",
            json!({"require_session": true, "require_delegation": true}),
            json!({"require_session": false, "require_delegation": false}),
            &["without an agent session", "that are not delegated"],
        ),
        pair(
            "hops",
            json!({"max_hop_count": 2, "routes": {"/p": {"max_hop_count": 0}}}),
            json!({"max_hop_count": 10, "routes": {"/p": {"max_hop_count": 2}}}),
            &[
                "/p/*: also mandates of 1 to 2 hops",
                "mandates of 3 to 10 hops",
            ],
        ),
        pair(
            "use",
            json!({}),
            on("/p", json!({"required_use": "session"})),
            &["/p/*: also mandates with use=session"],
        ),
        pair(
            "chain and targets",
            json!({"require_chain_contains": ["app-1", "app-2"], "required_targets": ["t1", "t2"]}),
            json!({"require_chain_contains": ["app-1"], "required_targets": ["t1"]}),
            &["chain lacks \"app-2\"", "without target \"t2\""],
        ),
        pair(
            "skew and size",
            json!({"clock_skew_s": 60}),
            json!({"clock_skew_s": 120, "limits": {"max_token_bytes": 12_000}}),
            &[
                "iat or nbf is 61 to 120 s ahead",
                "tokens of 8193 to 12000 bytes",
            ],
        ),
        pair(
            "algorithm",
            json!({}),
            json!({"algorithms": ["ES256", "EdDSA"]}),
            &["signed with EdDSA"],
        ),
        pair(
            "issuer and zone",
            json!({"exclude": ["/h"]}),
            json!({"issuer": "https://other.example.test", "zone_id": "zone-2"}),
            &[
                "of issuer \"https://other.example.test\"",
                "of zone \"zone-2\"",
            ],
        ),
        pair(
            "revocation disabled",
            json!({}),
            json!({"revocation": "disabled"}),
            &["that are revoked"],
        ),
        pair(
            "older states and key sets",
            json!({}),
            json!({"revocation": {"upstream": "other", "max_staleness_s": 60},
                "jwks": {"upstream": "sts", "ttl_s": 600}, "limits": {"max_anchors": 2_000_000}}),
            &[
                "over 30 and up to 60 s old",
                "withdrawn over 300 and up to 600 s",
                "1000001 to 2000000 anchors",
                "not compared: revocation.upstream",
            ],
        ),
        pair(
            "methods",
            on(
                "/p",
                json!({"required_scopes": ["b"], "methods": {"POST": {"required_scopes": ["b", "c"]}, "GET": {}}}),
            ),
            on(
                "/p",
                json!({"required_scopes": ["b"], "methods": {"POST": {"required_scopes": ["b"]}, "PUT": {"required_scopes": ["a"]}}}),
            ),
            &[
                "POST /p/*: also mandates without scope \"c\"",
                "GET in other letters",
                "PUT /p/*: also mandates without scope \"b\"",
            ],
        ),
        pair(
            "resources in place of one",
            json!({}),
            json!({"audience": null, "resources": {
                "resource://billing-api": {}, "resource://other": {"routes": {"/p": {"required_scopes": ["b"]}}}}}),
            &["X-Caracal-Resource \"resource://other\""],
        ),
        pair(
            "one in place of resources",
            json!({"audience": null, "resources": {
                "resource://billing-api": {"hosts": ["billing.test"]}, "resource://other": {}}}),
            json!({}),
            &["more than one X-Caracal-Resource", "all were refused"],
        ),
        pair(
            "a host more",
            json!({"audience": null, "resources": {
                "x": {"audience": "resource://billing-api", "hosts": ["billing.test"]},
                "y": {"audience": "resource://other", "hosts": ["other.test"], "exclude": ["/h"]}}}),
            json!({"audience": null, "resources": {
                "x": {"audience": "resource://billing-api", "hosts": ["billing.test", "third.test"]},
                "y": {"audience": "resource://other", "exclude": ["/h", "/p"]}}}),
            &["at host \"third.test\"", "also requests without a mandate"],
        ),
        pair(
            "nested",
            json!({"exclude": ["/e"], "routes": {"/e/p": {"required_scopes": ["b"]}, "/p/a": {"required_scopes": ["c"]}, "/p": {"require_session": true}}}),
            json!({"exclude": ["/p/a/b"], "routes": {"/p/a/b/c": {}, "/p": {"require_session": true}}}),
            &["/p/a/b/*: also requests without a mandate"],
        ),
        pair(
            "a route under an excluded prefix",
            json!({"exclude": ["/e"], "routes": {"/e/p": {"required_scopes": ["b"]}}}),
            json!({"required_scopes": []}),
            &["can be read under more than one of"],
        ),
    ]
}

/// Every path around the prefixes of a pair, plain and strange.
fn paths(pair: &Pair) -> (Vec<String>, Vec<String>) {
    let mut prefixes = vec![String::new()];
    for part in [&pair.old, &pair.new] {
        let named = part["resources"].as_object();
        let own = named.into_iter().flat_map(|all| all.values());
        for rules in own.chain([part]) {
            let routes = rules["routes"].as_object();
            prefixes.extend(routes.into_iter().flat_map(|all| all.keys().cloned()));
            let exclude = rules["exclude"].as_array();
            let exclude = exclude.into_iter().flatten();
            prefixes.extend(exclude.map(|p| p.as_str().unwrap().to_owned()));
        }
    }
    prefixes.sort();
    prefixes.dedup();
    let mut plain = Vec::new();
    for prefix in &prefixes {
        plain.push(format!("{prefix}/x"));
        if !prefix.is_empty() {
            plain.extend([prefix.clone(), format!("{prefix}x/p")]);
        }
    }
    plain.push("/".to_owned());
    let mut strange = Vec::new();
    for from in plain.iter().filter(|path| *path != "/") {
        for to in &plain {
            let up = "/..".repeat(from.matches('/').count());
            strange.push(format!("{from}{up}{to}"));
        }
    }
    (plain, strange)
}

fn requests(pair: &Pair, paths: &[String]) -> Vec<Asked> {
    let text = format!("{}{}", pair.old, pair.new);
    let methods: &[&str] = match text.contains("methods") {
        true => &["GET", "get", "POST", "Post", "PUT", "put", "HEAD"],
        false => &["GET"],
    };
    let several = text.contains("resources");
    let names: Vec<Vec<String>> = match several {
        false => vec![vec![]],
        true => {
            let ids = [
                "resource://billing-api",
                "resource://other",
                "x",
                "y",
                "unheard-of",
            ];
            let mut all: Vec<Vec<String>> = ids.iter().map(|id| vec![(*id).to_owned()]).collect();
            all.extend([vec![], vec!["x".to_owned(), "x".to_owned()]]);
            all
        }
    };
    let hosts: &[Option<&str>] = match text.contains("hosts") {
        false => &[None],
        true => &[
            None,
            Some("billing.test"),
            Some("other.test"),
            Some("third.test"),
            Some("elsewhere.test"),
        ],
    };
    let mut all = Vec::new();
    for path in paths {
        for method in methods {
            for names in &names {
                for host in hosts {
                    all.push(Asked {
                        method: (*method).to_owned(),
                        path: path.clone(),
                        host: host.map(str::to_owned),
                        names: names.clone(),
                    });
                }
            }
        }
    }
    all
}

fn worlds() -> Vec<World> {
    let quiet = World::default();
    vec![
        World {
            revoked: true,
            ..quiet
        },
        World { epoch: 6, ..quiet },
        World {
            state_age_s: 31,
            ..quiet
        },
        World {
            state_age_s: 60,
            ..quiet
        },
        World {
            state_age_s: 61,
            ..quiet
        },
        World {
            anchors: 1_500_000,
            ..quiet
        },
        World {
            anchors: 2_000_001,
            ..quiet
        },
        World {
            key_set_age_s: 901,
            ..quiet
        },
        World {
            key_set_age_s: 1_201,
            ..quiet
        },
        World {
            withdrawn_s: Some(300),
            ..quiet
        },
        World {
            withdrawn_s: Some(301),
            ..quiet
        },
        World {
            withdrawn_s: Some(601),
            ..quiet
        },
    ]
}

#[test]
fn what_is_let_through_in_addition_is_exactly_what_is_said() {
    let keys = Keys::new();
    let mandates = mandates(&keys);
    let pairs = pairs();
    for pair in &pairs {
        let (said, words, code) = compare(pair.name, &pair.old, &pair.new);
        for part in pair.words {
            assert!(words.contains(part), "{}: {part}\n{words}", pair.name);
        }
        let said = Said(said, format!("{}{}", pair.old, pair.new));
        let (mut old, mut new) = (Edge::new(&pair.old, &keys), Edge::new(&pair.new, &keys));
        let (plain, strange) = paths(pair);
        let few = |n: usize| mandates.iter().step_by(n).map(Some).chain([None]);
        let all: Vec<Option<&Mandate>> = few(1).collect();
        let some: Vec<Option<&Mandate>> = few(7).collect();
        let (mut judged, mut newly) = (0, 0);
        let mut put = |asked: &Asked, mandate: Option<&Mandate>, world: World| {
            let was = old.admits(asked, mandate, world);
            let is = new.admits(asked, mandate, world);
            let predicted = is && !was && said.lets_through(asked, mandate, world, &old);
            let over = is && was && {
                let any = said.lets_through(asked, mandate, world, &old);
                // What passes without a mandate passes with one, which the old one
                // may have admitted too: that is said of requests it refused.
                any && !new.excludes(asked)
            };
            judged += 1;
            newly += usize::from(is && !was);
            assert_eq!(
                (predicted, over),
                (is && !was, false),
                "{}: {asked:?} {:?} {world:?}\n{words}",
                pair.name,
                mandate.map(|m| &m.claims)
            );
        };
        let requests_plain = requests(pair, &plain);
        let with = if requests_plain.len() > 100 {
            &some
        } else {
            &all
        };
        for asked in &requests_plain {
            for mandate in with {
                put(asked, *mandate, World::default());
            }
        }
        for asked in &requests(pair, &strange) {
            for mandate in some.iter().step_by(4).chain([&None]) {
                put(asked, *mandate, World::default());
            }
        }
        for world in worlds() {
            for asked in requests_plain.iter().step_by(3) {
                for mandate in &some {
                    put(asked, *mandate, world);
                }
            }
        }
        println!(
            "{}: {judged} judged, {newly} let through in addition",
            pair.name
        );
        let expected = i32::from(newly > 0);
        assert_eq!(code, expected, "{}: {words}", pair.name);
    }
    assert!(pairs.len() >= 10);
}

#[test]
fn what_cannot_be_compared_ends_with_2() {
    let folder = folder("two");
    let good = folder.join("good.json");
    fs::write(&good, configuration(json!({})).to_string()).unwrap();
    let bad = folder.join("bad.json");
    fs::write(&bad, "{}").unwrap();
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    for (new, old) in [(good, bad), (bad, good), (good, "/does/not/exist")] {
        let done = call(&[new, "--against", old]);
        assert_eq!(done.status.code(), Some(2));
        assert!(done.stdout.is_empty() && !done.stderr.is_empty());
    }
    assert_eq!(call(&[good, "--against", good]).status.code(), Some(0));
}

#[test]
fn the_rule_of_one_request_is_shown() {
    let folder = folder("one");
    let file = folder.join("filter.json");
    let edge = configuration(json!({
        "exclude": ["/healthz"], "required_scopes": ["a"],
        "routes": {"/pay": {"required_scopes": ["b"], "methods": {"POST": {"required_scopes": ["c"]}}}},
    }));
    fs::write(&file, edge.to_string()).unwrap();
    let show = |more: &[&str]| {
        let arguments = [&[file.to_str().unwrap()], more].concat();
        let words = call(&arguments);
        let said = call(&[&arguments[..], &["--json"]].concat());
        let said: Value = serde_json::from_slice(&said.stdout).unwrap();
        (
            String::from_utf8(words.stdout).unwrap(),
            said["request"].clone(),
        )
    };
    let (words, said) = show(&["--path", "/pay/1?x", "--method", "POST"]);
    assert_eq!(said["requires"]["required_scopes"], json!(["c"]));
    assert!(words.contains("POST of the route \"/pay\""), "{words}");
    let (_, said) = show(&["--path", "/pay/1"]);
    assert_eq!(said["requires"]["required_scopes"], json!(["b"]));
    let (words, said) = show(&["--path", "/healthz"]);
    assert_eq!(said["excluded"], true);
    assert!(words.contains("passes without a mandate"), "{words}");
    let (words, said) = show(&["--path", "/x/%2e%2e/pay"]);
    assert_eq!(said["refused"]["error"], "invalid_request");
    assert!(
        words.contains("read as   \"/pay\", under the route \"/pay\""),
        "{words}"
    );
    assert!(words.contains("400 invalid_request"), "{words}");
    let (_, said) = show(&["--path", "/pay", "--method", "post"]);
    assert_eq!(said["refused"]["status"], 400);
}

/// Every file for a proxy in this repository holds a configuration that is taken.
#[test]
fn the_proxies_files_here_are_read() {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "--",
            "envoy.yaml",
            "deploy/*.yaml",
            "deploy/*.yml",
            "deploy/**/*.yaml",
            "deploy/**/*.yml",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let mut number = 0;
    for file in listed.lines() {
        let path = root().join(file);
        if !fs::read_to_string(&path)
            .unwrap()
            .contains("caracal_filter")
        {
            continue;
        }
        number += 1;
        let done = call(&[path.to_str().unwrap(), "--json"]);
        let said: Value = serde_json::from_slice(&done.stdout).unwrap_or_default();
        assert_eq!(
            said["ok"],
            true,
            "{file}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        assert!(
            said["filter"].is_string() || said["filters"].is_array(),
            "{file}"
        );
    }
    assert!(number >= 1, "{listed}");
}
