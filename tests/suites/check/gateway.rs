//! Gateway mode: what is said of the mode, the companion and each upstream, and of an
//! upstream that Envoy has no way to.

use super::*;

fn said(text: &str, more: &[&str]) -> (String, i32) {
    let folder = folder("gateway");
    let file = folder.join("envoy.yaml");
    fs::write(&file, text).unwrap();
    let done = call(&[&[file.to_str().unwrap()], more].concat());
    let _ = fs::remove_dir_all(&folder);
    let both = [done.stdout, done.stderr].concat();
    let code = done.status.code().unwrap();
    (String::from_utf8(both).unwrap(), code)
}

fn file() -> String {
    fs::read_to_string(root().join("deploy/envoy/gateway.yaml")).unwrap()
}

#[test]
fn mode_companion_and_upstreams_are_described() {
    let (words, code) = said(&file(), &["--strict"]);
    assert_eq!(code, 0, "{words}");
    for line in [
        "mode      gateway: verifies one-shot mandates, and has each exchanged at the STS",
        "exchange  by the companion behind caracal_feed, in at most 6000 ms, without a token, of mandates that are valid for 35 s more",
        "resource  resource://billing-api, at any host, goes on to http://billing.internal",
        "resource  resource://crm-api, at any host, goes on to http://crm.internal/v2",
    ] {
        assert!(words.contains(&format!("{line}\n")), "{line}\n{words}");
    }
    assert!(!words.contains("audience"), "{words}");
    let with_token = file().replace(
        "\"timeout_ms\": 6000",
        "\"token\": \"companion-secret\", \"min_remaining_s\": 60",
    );
    let (words, _) = said(&with_token, &[]);
    assert!(
        words
            .contains("in at most 5000 ms, with a token, of mandates that are valid for 60 s more"),
        "{words}"
    );
    assert!(!words.contains("companion-secret"), "{words}");
    let connector = fs::read_to_string(root().join("envoy.yaml")).unwrap();
    let (words, _) = said(&connector, &[]);
    assert!(words.contains("\nmode      connector: "), "{words}");
    assert!(!words.contains("exchange  "), "{words}");
}

#[test]
fn an_upstream_that_envoy_does_not_lead_to_is_warned_of() {
    let changed = |from: &str, to: &str| {
        let text = file();
        assert!(text.contains(from), "{from}");
        said(&text.replacen(from, to, 1), &["--strict"])
    };
    for (from, to, name) in [
        (
            "domains: [\"crm.internal\"]",
            "domains: [\"other.internal\"]",
            "upstream_without_domain",
        ),
        (
            "http://crm.internal/v2",
            "http://crm.internal:8080/v2",
            "upstream_without_domain",
        ),
        (
            "\"gateway\": {\"upstream\": \"caracal_feed\"",
            "\"gateway\": {\"upstream\": \"nobody\"",
            "unknown_cluster",
        ),
    ] {
        let (words, code) = changed(from, to);
        assert_eq!(code, 1, "{words}");
        assert_eq!(words.matches("WARNING   ").count(), 1, "{words}");
        assert!(words.contains(&format!("WARNING   {name}")), "{words}");
    }
    // With one upstream behind everything there is nothing to confuse.
    let text = fs::read_to_string(root().join("envoy.yaml")).unwrap();
    let (start, rest) = text.split_once("\"audience\"").unwrap();
    let (_, rest) = rest.split_once("\"jwks\"").unwrap();
    let (jwks, rest) = rest.split_once("\"required_scopes\"").unwrap();
    let (_, end) = rest.split_once("[\"/healthz\"]").unwrap();
    let mode = "\"mode\": \"gateway\", \"gateway\": {\"upstream\": \"caracal_feed\"}";
    let resources = "{\"resource://billing-api\": {\"upstream_url\": \"http://billing.internal\", \"required_scopes\": [\"a\"]}}";
    let one = format!("{start}{mode}, \"jwks\"{jwks}\"resources\": {resources}{end}");
    let (words, code) = said(&one, &["--strict"]);
    assert_eq!(code, 0, "{words}");
}

/// The keys of one mode are no keys of the other.
#[test]
fn what_a_mode_lacks_or_cannot_have_is_an_error() {
    for (from, to, words) in [
        ("\"mode\": \"gateway\",", "", "mode"),
        (
            "\"upstream_url\": \"http://crm.internal/v2\",",
            "",
            "upstream_url",
        ),
        (
            "\"gateway\": {\"upstream\": \"caracal_feed\", \"timeout_ms\": 6000},",
            "",
            "gateway",
        ),
        ("\"mode\": \"gateway\",", "\"mode\": \"gate\",", "connector"),
    ] {
        let text = file();
        assert!(text.contains(from), "{from}");
        let (said, code) = said(&text.replacen(from, to, 1), &[]);
        assert_eq!(code, 1, "{from}: {said}");
        assert!(said.contains(words), "{words}: {said}");
    }
}

/// The grid of pairs has no mandates of Gateway mode, so here the words are checked.
#[test]
fn what_a_change_lets_through_is_said() {
    let folder = folder("gateway-against");
    let gateway = |min_remaining_s: u64, url: &str| {
        json!({
            "issuer": "https://sts.example", "zone_id": "z", "jwks": {"upstream": "sts"},
            "revocation": "disabled", "mode": "gateway",
            "gateway": {"upstream": "companion", "min_remaining_s": min_remaining_s},
            "resources": {"resource://billing-api": {"upstream_url": url}},
        })
    };
    let connector = json!({
        "issuer": "https://sts.example", "zone_id": "z", "jwks": {"upstream": "sts"},
        "revocation": "disabled", "resources": {"resource://billing-api": {}},
    });
    let a = gateway(35, "https://a.example");
    let b = gateway(10, "https://b.example/v1");
    for (old, new, said) in [
        (&a, &a, vec!["lets nothing through"]),
        (
            &connector,
            &a,
            vec!["mandates for the Gateway, which are exchanged"],
        ),
        (
            &a,
            &connector,
            vec!["resource mandates, in place of those that the Gateway exchanges"],
        ),
        (
            &a,
            &b,
            vec![
                "also mandates that are valid for 10 to 34 s more",
                "requests for resource \"resource://billing-api\" go to another upstream: \"https://b.example/v1\"",
            ],
        ),
    ] {
        let files = ["new.json", "old.json"].map(|name| folder.join(name));
        for (file, edge) in files.iter().zip([new, old]) {
            fs::write(file, edge.to_string()).unwrap();
        }
        let [new, old] = files.each_ref().map(|file| file.to_str().unwrap());
        let done = call(&[new, "--against", old]);
        let words = String::from_utf8(done.stdout).unwrap();
        for text in said {
            assert!(words.contains(text), "{text}\n{words}");
        }
        let lets_nothing = words.contains("lets nothing through");
        assert_eq!(
            done.status.code(),
            Some(i32::from(!lets_nothing)),
            "{words}"
        );
    }
    let _ = fs::remove_dir_all(&folder);
}
