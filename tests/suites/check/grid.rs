//! The requests that a pair of configurations could tell apart, and more.

use crate::edges::Asked;
use crate::pairs::Pair;

/// Every path around the prefixes of a pair, plain and strange.
pub(crate) fn paths(pair: &Pair) -> (Vec<String>, Vec<String>) {
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

pub(crate) fn requests(pair: &Pair, paths: &[String]) -> Vec<Asked> {
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
