//! What is attached for each kind of provider.

use super::*;

/// The answer for one provider, with the resource mandate in it replaced by its name.
fn of(provider: Value) -> Value {
    let scene = Scene::new(json!({ AUDIENCE: resource(json!({ "provider": provider })) }));
    let mut granted = scene.granted(&scene.sts.mandate(AUDIENCE));
    for member in ["credential", "identity"] {
        let value = granted[member].as_str().unwrap_or_default();
        if value.contains('.') {
            let claims = claims(value);
            assert_eq!(claims["use"], "resource");
            assert_eq!(claims["aud"], json!([AUDIENCE]));
            assert_eq!(claims["scope"], "billing:read");
            assert_eq!(claims["agent_session_id"], "agent-1");
            granted[member] = json!("RESOURCE MANDATE");
        }
    }
    assert_eq!(granted["url"], "https://upstream.test/base");
    granted.as_object_mut().unwrap().remove("url");
    granted
}

#[test]
fn none_and_a_mandate() {
    let none = of(json!({"kind": "none"}));
    assert_eq!(
        none,
        json!({"auth_mode": "none", "allowed_token_hosts": []})
    );
    let mandate = of(json!({"kind": "caracal_mandate"}));
    assert_eq!(
        mandate,
        json!({
            "auth_mode": "caracal_jwt", "allowed_token_hosts": [],
            "credential": "RESOURCE MANDATE",
        })
    );
}

#[test]
fn tokens_of_providers() {
    let client = of(json!({"kind": "oauth2_client_credentials", "token": SECRET}));
    let mut expected = json!({
        "auth_mode": "provider_oauth", "auth_location": "header", "auth_header": "Authorization",
        "auth_scheme": "Bearer", "allowed_token_hosts": [], "credential": SECRET,
        "provider_id": "provider-1",
    });
    assert_eq!(client, expected);
    let person = of(json!({
        "kind": "oauth2_authorization_code", "token": SECRET, "header": "X-Token",
        "scheme": "token", "forward_identity": true,
    }));
    expected["auth_header"] = json!("X-Token");
    expected["auth_scheme"] = json!("token");
    expected["identity"] = json!("RESOURCE MANDATE");
    expected["connection_id"] = json!("connection-1");
    assert_eq!(person, expected);
    let bearer = of(json!({
        "kind": "bearer_token", "token": SECRET, "allowed_token_hosts": ["upstream.test"],
    }));
    assert_eq!(bearer["allowed_token_hosts"], json!(["upstream.test"]));
    assert_eq!(bearer["credential"], SECRET);
    let basic = of(json!({"kind": "http_basic", "username": "u", "password": "p"}));
    assert_eq!(
        (&basic["auth_scheme"], &basic["credential"]),
        (&json!("Basic"), &json!("dTpw"))
    );
}

#[test]
fn keys_in_a_header_and_in_the_query() {
    let header = of(json!({"kind": "api_key", "token": SECRET, "header": "X-Api-Key"}));
    assert_eq!(
        header,
        json!({
            "auth_mode": "provider_apikey", "auth_location": "header",
            "auth_header": "X-Api-Key", "allowed_token_hosts": [], "credential": SECRET,
            "provider_id": "provider-1",
        })
    );
    let query = of(json!({
        "kind": "api_key", "token": SECRET, "query": "key", "forward_identity": true,
    }));
    assert_eq!(
        query,
        json!({
            "auth_mode": "provider_apikey", "auth_location": "query", "query_param_name": "key",
            "allowed_token_hosts": [], "credential": SECRET, "provider_id": "provider-1",
            "identity": "RESOURCE MANDATE",
        })
    );
}
