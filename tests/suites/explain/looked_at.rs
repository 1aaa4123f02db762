//! What was looked at and what was not is said.

use super::origin::*;
use super::*;

/// A key set that the explanation fetched where the edge does is not suspected of its
/// age.
#[test]
fn a_fetched_key_set_is_not_called_old() {
    let folder = Folder::new("fetched");
    let set = key_set(&[&Key::new("k1", 1)]);
    let sts = Server::start(move |_| Reply::json(&set));
    let issuer = format!("http://{}", sts.address());
    let mut edge = edge();
    edge["issuer"] = json!(issuer);
    let configuration = folder.file("filter.json", edge.to_string());
    for (kid, says) in [
        ("k9", "whoever runs the STS adds that key"),
        ("k1", "under its own kid"),
    ] {
        let token = Key::new(kid, 9).mandate(NOW, json!({"iss": issuer}));
        let said = text(&explain_token(&configuration, &[], &token));
        assert!(said.contains("fetched just now"), "{said}");
        assert!(said.contains(says), "{said}");
        assert!(!said.contains("again from"), "{said}");
    }
}

#[test]
fn what_was_not_looked_at_is_said_with_how_to_look() {
    let folder = Folder::new("unchecked");
    let key = Key::new("k1", 1);
    let set = key_set(&[&key]);
    let expired = key.mandate(NOW, json!({"exp": NOW - 300, "iat": NOW - 1200}));
    let said = change(&folder, &expired, &set, &[]);
    for words in [
        "- Revocation was not checked",
        "--feed URL",
        "CARACAL_FEED_TOKEN",
        "--revoked ANCHOR",
        "--epoch NUMBER",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    // Nobody listens there; nobody is asked either.
    let said = change(&folder, &expired, &set, &["--feed", "http://127.0.0.1:1"]);
    let words = "- Revocation was not checked: the companion (--feed) is asked only";
    assert!(said.contains(words), "{said}");
    let said = change(&folder, &expired, &set, &["--epoch", "0"]);
    assert!(!said.contains("Revocation was not checked"), "{said}");
    // There is nothing to look for.
    let said = change(&folder, "opaque", &set, &[]);
    assert!(!said.contains("Revocation was not checked"), "{said}");
}

#[test]
fn the_verdict_comes_first_and_what_failed_is_all_that_is_shown_unasked() {
    let folder = Folder::new("first");
    let configuration = folder.file("filter.json", edge().to_string());
    let keys = folder.file("keys.json", key_set(&[&Key::new("k1", 1)]).to_string());
    let at = NOW.to_string();
    let arguments: [&str; 9] = [
        &configuration,
        "--key-set",
        &keys,
        "--at",
        &at,
        "--token-file",
        "-",
        "--path",
        "/",
    ];
    let token = Key::new("k1", 1).mandate(NOW, json!({"scope": "other"}));
    let said = text(&call_as_is(&arguments, token.as_bytes()));
    assert!(
        said.starts_with("The edge refuses: 403 insufficient_scope\n"),
        "{said}"
    );
    let place = |text: &str| said.find(text).unwrap_or_else(|| panic!("{text}: {said}"));
    assert!(place("What to change") < place("row  check"), "{said}");
    assert!(place("\n  5  scopes ") > place("row  check"), "{said}");
    assert!(
        !said.contains("signature"),
        "what passed is left out: {said}"
    );
    assert!(said.contains("more checks passed"), "{said}");
    let whole = text(&call(&arguments, token.as_bytes()));
    assert!(whole.contains("\n  3  signature "), "{whole}");
    assert!(!whole.contains("--all"), "{whole}");
}
