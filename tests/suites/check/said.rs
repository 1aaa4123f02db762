//! Reads what `check` says of two configurations, and nothing else.

use serde_json::{Value, json};

use crate::edges::{Asked, Edge, Mandate, NOW, World};

/// What `check` says, read by somebody else, and the two configurations' text.
pub(crate) struct Said(pub(crate) Value, pub(crate) String);

impl Said {
    pub(crate) fn lets_through(
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
    // Where it is about one zone among several.
    let of_zone = || extra["zone"].is_null() || text("zone_id") == extra["zone"];
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
        "issuer" => text("iss") == extra["issuer"] && of_zone(),
        "zone" => text("zone_id") == extra["zone"],
        "algorithms" => extra["algorithms"]
            .as_array()
            .unwrap()
            .contains(&json!(mandate.algorithm)),
        "ahead" => ["iat", "nbf"].iter().any(|name| {
            let time = claim(name).and_then(Value::as_u64).unwrap_or(0);
            within("from_s", "to_s", time.saturating_sub(NOW))
        }),
        "lifetime" => {
            let time = |name: &str| claim(name).and_then(Value::as_u64).unwrap();
            let lives = time("exp").saturating_sub(time("iat"));
            let to = extra["to_s"].as_u64().unwrap_or(u64::MAX);
            (extra["from_s"].as_u64().unwrap()..=to).contains(&lives)
        }
        "token_bytes" => within("from", "to", mandate.token.len() as u64),
        "unsendable" => {
            let claims = extra["claims"].as_array().unwrap();
            let is_sent = |text: &str| {
                let edge = |b: Option<u8>| b.is_some_and(|b| (0x21..0x7f).contains(&b));
                let ends = [text.bytes().next(), text.bytes().last()];
                let fits = text.bytes().all(|b| (0x20..0x7f).contains(&b));
                text.len() <= 1_024 && fits && ends.into_iter().all(edge)
            };
            claims.iter().any(|name| {
                let text = text(name.as_str().unwrap());
                !text.is_empty() && !is_sent(text)
            })
        }
        "revoked" => {
            let stale = claim("delegation_graph_epoch").and_then(Value::as_u64);
            (world.revoked && text("sid") == "sid-1")
                || stale.is_some_and(|epoch| world.epoch > epoch)
                || world.state_age_s > 0
                || world.anchors > 0
        }
        "state_age" => within("from_s", "to_s", world.state_age_s),
        "anchors" => within("from", "to", world.anchors),
        "withdrawn_key" => {
            let within = |age| within("from_s", "to_s", age);
            of_zone() && world.withdrawn_s.is_some_and(within)
        }
        "key_set_age" => of_zone() && within("from_s", "to_s", world.key_set_age_s),
        other => panic!("{other} is not known"),
    }
}
