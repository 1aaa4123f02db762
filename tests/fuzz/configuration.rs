//! Input: whether the environment says something, then a configuration. What is
//! accepted is valid by the committed schema and is read again as the same; its
//! prefixes can be compared, its addresses can be sent; what is refused says where
//! and shows no secret.

use std::sync::LazyLock;

use caracal_mandate::config::{Configuration, Revocation, schema};
use serde_json::Value;

use crate::byte;

static SCHEMA: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::validator_for(&schema()).unwrap());

const SECRET: &str = "environment-secret";

pub fn check(data: &[u8]) {
    let mut data = data;
    // A document that has the same word elsewhere may show it.
    if String::from_utf8_lossy(data).contains(SECRET) {
        return;
    }
    let known = byte(&mut data) & 1 == 1;
    let environment = |name: &str| {
        let value = match name {
            "CARACAL_STS_URL" => "https://sts.example.test/",
            "CARACAL_ZONE_ID" => "zone-1",
            "CARACAL_FEED_TOKEN" => SECRET,
            _ => return None,
        };
        known.then(|| value.to_owned())
    };
    let configuration = match Configuration::from_json(data, &environment) {
        Ok(configuration) => configuration,
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in &errors {
                let text = error.to_string();
                assert!(!text.is_empty() && !text.contains(SECRET), "{text}");
            }
            return;
        }
    };
    if let Ok(document) = serde_json::from_slice::<Value>(data) {
        assert!(
            SCHEMA.is_valid(&document),
            "accepted, and not by the schema"
        );
    }
    assert!(!format!("{configuration:?}").contains(SECRET));
    again(&configuration);
    let resources = configuration.resources.values();
    let routes = resources
        .clone()
        .flat_map(|resource| resource.routes.keys());
    let excluded = resources.flat_map(|resource| &resource.exclude);
    for prefix in configuration
        .routes
        .keys()
        .chain(&configuration.exclude)
        .chain(routes)
        .chain(excluded.clone())
    {
        assert!(prefix.starts_with('/') && !prefix.contains("//"));
        assert!(!prefix.contains(['?', '#', '%', ';', '\\', '\0', '\n', '\r']));
        assert!(
            !prefix
                .split('/')
                .any(|segment| segment == "." || segment == "..")
        );
    }
    assert!(
        !configuration
            .exclude
            .iter()
            .chain(excluded)
            .any(|prefix| prefix.trim_end_matches('/').is_empty())
    );
    resources_in_force(&configuration);
    let zones = configuration.accepted_zones();
    let target = zones[0].jwks_target();
    for text in [&target.path, &target.authority] {
        assert!(text.bytes().all(|b| b.is_ascii_graphic()), "{text:?}");
    }
    assert!(target.path.starts_with('/') && !target.authority.is_empty());
    assert!(!target.authority.contains('@'));
    for name in configuration.forward.headers.keys() {
        assert!(
            name.bytes()
                .all(|b| b.is_ascii_graphic() && b != b':' && b != b'_')
        );
        assert!(
            !["authorization", "host", "connection", "content-length"].contains(&name.as_str())
        );
    }
}

/// Each resource is the one that its name and its hosts choose, and no other has its
/// audience.
fn resources_in_force(configuration: &Configuration) {
    let resources = configuration.in_force();
    let mut audiences: Vec<&str> = resources
        .all()
        .iter()
        .map(|r| r.audience.as_str())
        .collect();
    assert_eq!(audiences.len(), configuration.resources.len().max(1));
    let before = audiences.len();
    audiences.sort_unstable();
    audiences.dedup();
    assert_eq!(audiences.len(), before);
    for (id, own) in &configuration.resources {
        assert!(id.bytes().all(|b| b.is_ascii_graphic() && b != b','));
        for host in own.hosts.iter().flatten() {
            let found = resources.choose(Some(host.as_bytes()), &[]).unwrap();
            assert_eq!(&resources.get(found).unwrap().id, id);
            let near = format!("{host}0");
            let is_listed = own
                .hosts
                .iter()
                .flatten()
                .any(|other| other.eq_ignore_ascii_case(&near));
            if !is_listed && let Ok(found) = resources.choose(Some(near.as_bytes()), &[]) {
                assert_ne!(&resources.get(found).unwrap().id, id);
            }
        }
        if own.hosts.is_none()
            && let Ok(found) = resources.choose(Some(b"elsewhere.test"), &[id.as_bytes()])
        {
            assert_eq!(&resources.get(found).unwrap().id, id);
        }
    }
}

/// What was understood, written down and read again.
fn again(configuration: &Configuration) {
    if let Revocation::Feed(feed) = &configuration.revocation
        && feed.token.is_some()
    {
        // A secret is not written down.
        return;
    }
    let written = serde_json::to_vec(configuration).unwrap();
    let read = Configuration::from_json(&written, &|_| None);
    assert_eq!(read.as_ref(), Ok(configuration));
}
