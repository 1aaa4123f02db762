//! Gateway mode: what the client gets is what the filter answers, beside our code and the
//! row.

use caracal_tests::host::{Outcome, Request};
use caracal_tests::hosts::ENVOY;

use super::*;
use crate::in_process::{BILLING, Edge, REPORTS, bearer_token, mandate, settings};

/// A request that the filter refuses before any exchange.
struct Refused {
    name: &'static str,
    token: Option<String>,
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    /// Status and `error` that the client gets, and our code.
    client: (u16, &'static str),
    code: &'static str,
    /// Row and name of the check that fails.
    check: (&'static str, &'static str),
    /// What the text says to do.
    fix: &'static str,
}

fn refused() -> Vec<Refused> {
    let named = vec![("x-caracal-resource", BILLING)];
    let of = |name, changes: Value, client, code, check, fix| Refused {
        name,
        token: Some(mandate(BILLING, changes)),
        path: "/x",
        headers: named.clone(),
        client,
        code,
        check,
        fix,
    };
    let good = |name, client, code, check, fix| of(name, json!({}), client, code, check, fix);
    let expiring = (401, "credential_expired_not_renewable");
    let mut forged = mandate(BILLING, json!({}));
    forged.truncate(forged.rfind('.').unwrap() + 1);
    forged.push_str(&"A".repeat(86));
    vec![
        Refused {
            path: "/x/%2e%2e/y%2fz",
            // Of two reasons the path is the first.
            token: None,
            ..good(
                "path",
                (400, "invalid_token"),
                "invalid_request",
                ("G0", "path"),
                "path",
            )
        },
        Refused {
            token: None,
            headers: Vec::new(),
            ..good(
                "no mandate and no resource",
                (401, "invalid_token"),
                "missing_token",
                ("G2", "credential"),
                "gets a mandate",
            )
        },
        Refused {
            headers: vec![("x-caracal-client-id", "app-2")],
            ..good(
                "a client id and no resource",
                (400, "invalid_token"),
                "invalid_request",
                ("G2", "client id"),
                "leaves X-Caracal-Client-ID out",
            )
        },
        Refused {
            headers: vec![named[0], ("x-caracal-client-id", "app-2")],
            ..good(
                "a client id",
                (400, "invalid_token"),
                "invalid_request",
                ("G2", "client id"),
                "leaves X-Caracal-Client-ID out",
            )
        },
        Refused {
            headers: vec![("connection", "close, content-length")],
            ..good(
                "the length of the body for this hop alone, and no resource",
                (400, "invalid_token"),
                "invalid_request",
                ("G2", "connection"),
                "lists in Connection only",
            )
        },
        Refused {
            headers: Vec::new(),
            ..good(
                "no resource",
                (400, "invalid_token"),
                "invalid_request",
                ("G2", "resource"),
                "names one of the resources",
            )
        },
        Refused {
            headers: vec![("x-caracal-resource", "resource://other")],
            ..good(
                "an unknown resource",
                (403, "access_denied"),
                "access_denied",
                ("G2", "resource"),
                "names one of the resources",
            )
        },
        of(
            "ends soon",
            json!({"exp": NOW + 34}),
            expiring,
            "credential_expiring",
            ("G3", "time left"),
            "valid for 35 s more",
        ),
        Refused {
            token: Some(Key::new("k9", 9).mandate(NOW, json!({"exp": NOW + 34}))),
            ..good(
                "ends soon, and nobody's key signed it",
                expiring,
                "credential_expiring",
                ("G3", "time left"),
                "valid for 35 s more",
            )
        },
        Refused {
            token: Some(forged),
            ..good(
                "forged",
                (401, "invalid_token"),
                "invalid_token",
                ("G4", "signature"),
                "",
            )
        },
        of(
            "of another use",
            json!({"use": "resource"}),
            (401, "invalid_token"),
            "invalid_token",
            ("G4", "use"),
            "for the Gateway",
        ),
        of(
            "of another audience",
            json!({"aud": BILLING}),
            (401, "invalid_token"),
            "invalid_token",
            ("G4", "audience"),
            "for the Gateway",
        ),
        of(
            "of another zone",
            json!({"zone_id": "zone-2"}),
            (401, "zone_invalid"),
            "invalid_zone",
            ("G4", "zone"),
            "zone-1",
        ),
        of(
            "of another target",
            json!({"target": [REPORTS]}),
            (403, "access_denied"),
            "access_denied",
            ("G5", "own target"),
            "names another resource",
        ),
        of(
            "without the scope",
            json!({"scope": "other"}),
            (403, "scope_insufficient"),
            "insufficient_scope",
            ("G6", "scopes"),
            "also has scope",
        ),
    ]
}

/// Explains with a configuration of Gateway mode; the token comes on standard input.
fn explain(folder: &Folder, configured: &Value, token: Option<&str>, more: &[&str]) -> Output {
    let configuration = folder.file("filter.json", configuration(configured.clone()).to_string());
    let keys = folder.file("keys.json", key_set(&[&Key::new("k1", 1)]).to_string());
    let at = NOW.to_string();
    let mut arguments = vec![configuration.as_str(), "--key-set", &keys, "--at", &at];
    if token.is_some() {
        arguments.extend(["--token-file", "-"]);
    }
    arguments.extend(more);
    call(&arguments, token.unwrap_or_default().as_bytes())
}

#[test]
fn what_the_client_gets_is_what_the_filter_answers() {
    let folder = Folder::new("gateway");
    for one in refused() {
        let name = one.name;
        let mut request = Request::get(one.path).header("x-request-id", "id-7");
        let mut headers = vec!["X-Request-Id: id-7".to_owned()];
        for (name, value) in &one.headers {
            request = request.header(*name, *value);
            headers.push(format!("{name}: {value}"));
        }
        if let Some(token) = &one.token {
            request = request.bearer(token.clone());
        }
        let mut edge = Edge::granting(ENVOY, bearer_token());
        let stream = edge.send(request);
        let Outcome::Replied(reply) = edge.proxy.outcome(stream) else {
            panic!("{name}: {:?}", edge.proxy.outcome(stream));
        };

        let mut more = vec!["--path", one.path];
        for header in &headers {
            more.extend(["--header", header]);
        }
        let told = explain(
            &folder,
            &settings(ENVOY, json!({})),
            one.token.as_deref(),
            &more,
        );
        let said = text(&told);
        more.push("--json");
        let done = explain(
            &folder,
            &settings(ENVOY, json!({})),
            one.token.as_deref(),
            &more,
        );
        let json: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(done.status.code(), Some(1), "{name}: {json}");
        let (status, error) = one.client;
        assert_eq!(
            (
                &json["reply"]["status"],
                &json["client_error"],
                &json["error"]
            ),
            (&json!(status), &json!(error), &json!(one.code)),
            "{name}: {json}"
        );
        let body: Value = serde_json::from_str(json["reply"]["body"].as_str().unwrap()).unwrap();
        assert_eq!(
            (reply.status, reply.json()),
            (u32::from(status), body),
            "{name}"
        );
        let (row, check) = one.check;
        let failed: Vec<&Value> = json["checks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|check| check["outcome"] == "failed")
            .collect();
        assert_eq!(failed.len(), 1, "{name}: {failed:?}");
        let found = (&failed[0]["gateway_row"], &failed[0]["check"]);
        assert_eq!(found, (&json!(row), &json!(check)), "{name}");

        let first = format!(
            "The edge refuses: {status} {error} (in metrics and logs: {})",
            one.code
        );
        assert!(said.starts_with(&first), "{name}: {said}");
        assert!(said.contains(&format!(" {row}  {check}")), "{name}: {said}");
        let change = said.split("What to change").nth(1).unwrap_or_default();
        assert!(change.contains(one.fix), "{name}: {change}");
        let token = one.token.unwrap_or_default();
        for part in token.split('.').filter(|part| part.len() > 20) {
            assert!(!said.contains(&part[..20]), "{name} prints the token");
        }
    }
}

#[test]
fn what_would_be_exchanged_is_said_with_what_is_not_explained() {
    let folder = Folder::new("exchange");
    let token = mandate(BILLING, json!({}));
    let feed = settings(ENVOY, json!({"revocation": {"upstream": "companion"}}));
    let resource = format!("X-Caracal-Resource: {BILLING}");
    let of = |more: &[&str]| {
        let more = [&["--path", "/x", "--header", &resource], more].concat();
        explain(&folder, &feed, Some(&token), &more)
    };
    let done = of(&["--epoch", "0"]);
    let said = text(&done);
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(
        said.starts_with("The edge has the mandate exchanged"),
        "{said}"
    );
    for words in ["rows G8 to G11", "would use the mandate up"] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    for row in ["G0", "G1", "G2", "G3", "G4", "G5", "G6", "G7"] {
        assert!(said.contains(&format!("\n {row}  ")), "{row}\n{said}");
    }
    let said = text(&of(&["--revoked", "sid-1"]));
    let first = "The edge refuses: 401 invalid_token (in metrics and logs: session_revoked)";
    assert!(said.starts_with(first), "{said}");
    assert!(said.contains(" G7  revocation"), "{said}");
    assert!(said.contains("\"requestId\":\"(a new id)\""), "{said}");
    // What the request itself lacks is seen before the exchange.
    let more = [
        "--path",
        "/x?a=1;b=2",
        "--header",
        &resource,
        "--epoch",
        "0",
    ];
    let done = explain(&folder, &feed, Some(&token), &more);
    let said = text(&done);
    assert_eq!(done.status.code(), Some(1), "{said}");
    let first = "The edge refuses: 400 internal_error (in metrics and logs: upstream_request)";
    assert!(said.starts_with(first), "{said}");
    assert!(said.contains("changes the request (row G11)"), "{said}");
    // An excluded path is not exchanged.
    let done = explain(
        &folder,
        &feed,
        None,
        &["--path", "/open", "--header", &resource],
    );
    let said = text(&done);
    assert!(said.contains("unverified: the path is excluded"), "{said}");
    assert!(!said.contains("rows G8"), "{said}");
}

/// Claims alone are judged in the same order.
#[test]
fn claims_alone_are_judged_as_for_the_gateway() {
    let folder = Folder::new("gateway-claims");
    let claims = claims(
        NOW,
        json!({
            "use": "gateway", "aud": ["https://sts.example.test"], "target": [BILLING],
        }),
    );
    let file = folder.file("claims.json", claims.to_string());
    let judge = |headers: &[&str]| {
        let mut more = vec!["--path", "/x", "--claims", &file, "--json"];
        for header in headers {
            more.extend(["--header", header]);
        }
        let done = explain(&folder, &settings(ENVOY, json!({})), None, &more);
        let said: Value = serde_json::from_slice(&done.stdout).unwrap();
        (said["verdict"].clone(), said["client_error"].clone())
    };
    let resource = format!("X-Caracal-Resource: {BILLING}");
    assert_eq!(judge(&[&resource]), (json!("admitted"), Value::Null));
    let refused = |error: &str| (json!("refused"), json!(error));
    let other = "X-Caracal-Resource: resource://other";
    assert_eq!(judge(&[other]), refused("access_denied"));
    let client = "X-Caracal-Client-ID: app-2";
    assert_eq!(judge(&[&resource, client]), refused("invalid_token"));
    assert_eq!(judge(&[]), refused("invalid_token"));
}

/// The only resource must be named too.
#[test]
fn the_only_resource_is_named_too() {
    let folder = Folder::new("gateway-only");
    let mut edge = settings(ENVOY, json!({}));
    edge["resources"].as_object_mut().unwrap().remove(REPORTS);
    edge["resources"][BILLING]["routes"] = json!({"/x": {"methods": {"GET": {}}}});
    let token = mandate(BILLING, json!({}));
    let judge = |more: &[&str]| {
        let more = [&["--path", "/x", "--json"], more].concat();
        let done = explain(&folder, &edge, Some(&token), &more);
        let said: Value = serde_json::from_slice(&done.stdout).unwrap();
        let failed = said["checks"].as_array().unwrap().iter();
        let failed = failed.filter(|check| check["outcome"] == "failed");
        let failed: Vec<String> = failed.map(|check| check["check"].to_string()).collect();
        (said["reply"]["status"].clone(), failed.concat())
    };
    let name = format!("X-Caracal-Resource: {BILLING}");
    assert_eq!(judge(&["--header", &name]).1, "");
    assert_eq!(judge(&[]), (json!(400), "\"resource\"".to_owned()));
    // The route is matched before, and with it the method: as in the filter.
    let bad_method = judge(&["--method", "get"]);
    assert_eq!(bad_method, (json!(400), "\"method\"".to_owned()));
    let mut proxy = Edge::ready(ENVOY, edge.clone(), |_: &Value| unreachable!());
    let stream = proxy.send(Request::new("get", "/x").bearer(token.clone()));
    let Outcome::Replied(reply) = proxy.proxy.outcome(stream) else {
        panic!("{:?}", proxy.proxy.outcome(stream));
    };
    let said = reply.json()["error_description"].to_string();
    assert!(said.contains("method"), "{said}");
}
