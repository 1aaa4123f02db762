//! What the upstream is told of the mandate besides its credential, where the configuration
//! says so, and what it is not.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use caracal_tests::host::Request;
use serde_json::{Value, json};

use crate::edge::*;

fn edge(on: caracal_tests::hosts::On, forward: Value) -> Edge {
    Edge::ready(
        on,
        json!({"forward": forward}),
        |_| granted(&bearer_token()),
    )
}

#[test]
fn verified_context_is_written_after_the_exchange() {
    for on in BOTH {
        let forward = json!({"baggage": "verified", "claims": "x-principal"});
        let mut edge = edge(on, forward);
        let token = mandate(BILLING, json!({"agent_session_id": "as-1"}));
        let request = Request::get("/x")
            .header("x-caracal-resource", BILLING)
            .bearer(&token)
            .header("x-principal", "forged")
            .header("baggage", "a=1,caracal.session=forged");
        let stream = edge.send(request);
        let upstream = edge.upstream(stream);
        is_exchanged(on, &upstream, "context");
        let baggage = upstream.text("baggage");
        let expected = "a=1,caracal.agent_session=as-1,caracal.session=sid-1";
        assert_eq!(baggage, Some(expected));
        let claims = upstream.all("x-principal");
        assert_eq!(claims.len(), 1);
        let read: Value = serde_json::from_slice(&BASE64.decode(claims[0]).unwrap()).unwrap();
        assert_eq!(read["agent_session_id"], "as-1");
        edge.proxy.assert_clean();
    }
}

/// The mandate is refused before it is used up.
#[test]
fn what_cannot_be_sent_is_refused_before_the_exchange() {
    for on in BOTH {
        let mut edge = edge(on, json!({"headers": {"x-edge": "delegation_edge_id"}}));
        let token = mandate(BILLING, json!({"delegation_edge_id": "edge-é"}));
        let request = resource(BILLING).bearer(token);
        assert_eq!(edge.refused(request), (401, "invalid_token".to_owned()));
        assert!(edge.asked().is_empty());
        edge.proxy.assert_clean();
    }
}

/// No mandate is judged there: a service's own credential is no mandate.
#[test]
fn an_excluded_path_keeps_its_own_credential() {
    for on in BOTH {
        let mut edge = edge(on, json!({}));
        for credential in ["Bearer of-the-service", "Basic x"] {
            let request = Request::get("/open")
                .header("x-caracal-resource", BILLING)
                .header("authorization", credential)
                .header("baggage", "a=1");
            let stream = edge.send(request);
            let upstream = edge.upstream(stream);
            assert_eq!(upstream.text("authorization"), Some(credential));
            assert_eq!(upstream.text("baggage"), Some("a=1"));
        }
        assert!(edge.asked().is_empty());
        edge.proxy.assert_clean();
    }
}
