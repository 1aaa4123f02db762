//! Several zones: the key set of the zone that the token names is asked, and a token of
//! another zone is explained.

use super::*;

/// An STS that has a key of its own for each zone, under the same `kid`.
fn sts() -> (Server, Key, Key) {
    let (a, b) = (Key::new("k1", 1), Key::new("k1", 2));
    let (set_a, set_b) = (key_set(&[&a]), key_set(&[&b]));
    let server = Server::start(move |request| match request.target.as_str() {
        "/.well-known/jwks.json?zone_id=zone-a" => Reply::json(&set_a),
        "/.well-known/jwks.json?zone_id=zone-b" => Reply::json(&set_b),
        _ => Reply::new(404, ""),
    });
    (server, a, b)
}

#[test]
fn the_zone_that_a_token_names_is_asked_and_another_is_explained() {
    let folder = Folder::new("zones");
    let (sts, a, b) = sts();
    let issuer = format!("http://{}", sts.address());
    let edge = configuration(json!({
        "issuer": issuer, "zone_id": null, "audience": null,
        "zones": {"zone-a": {}, "zone-b": {}},
        "resources": {"resource://all": {}, "resource://some": {"zones": ["zone-b"]}},
    }));
    let edge = folder.file("filter.json", edge.to_string());
    let explain = |token: &str, resource: &str| {
        let done = explain_token(&edge, &["--resource", resource], token);
        (done.status.code(), text(&done))
    };
    let token = |key: &Key, zone: Value| {
        let aud = ["resource://all", "resource://some"];
        key.mandate(NOW, json!({"iss": issuer, "zone_id": zone, "aud": aud}))
    };
    for (key, zone) in [(&a, "zone-a"), (&b, "zone-b")] {
        let (code, said) = explain(&token(key, json!(zone)), "resource://all");
        assert_eq!(code, Some(0), "{said}");
        assert!(
            line(&said, "zone chosen").contains(&format!("found \"{zone}\"")),
            "{said}"
        );
    }
    assert_eq!(sts.requests(), 2, "each time one zone is asked");
    let (code, said) = explain(&token(&b, json!("zone-a")), "resource://all");
    assert_eq!(code, Some(1));
    assert!(
        said.contains("The edge refuses: 401 invalid_token"),
        "{said}"
    );
    assert!(line(&said, "signature").starts_with("FAILED"), "{said}");

    let asked = sts.requests();
    for (zone, resource, accepted, setting) in [
        (
            json!("zone-c"),
            "resource://all",
            "[\"zone-a\", \"zone-b\"]",
            "adds it to zones in",
        ),
        (
            json!(null),
            "resource://all",
            "[\"zone-a\", \"zone-b\"]",
            "adds it to zones in",
        ),
        (
            json!("zone-a"),
            "resource://some",
            "[\"zone-b\"]",
            "zones of resource \"resource://some\"",
        ),
    ] {
        let (code, said) = explain(&token(&a, zone.clone()), resource);
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("The edge refuses: 401 invalid_zone"),
            "{said}"
        );
        let compared = line(&said, "zone chosen");
        assert!(compared.starts_with("FAILED"), "{said}");
        assert!(
            compared.contains(&format!("zone_id one of {accepted}")),
            "{said}"
        );
        assert!(said.contains(setting), "{said}");
    }
    assert_eq!(
        sts.requests(),
        asked,
        "as at the edge, nobody is asked for keys"
    );
}
