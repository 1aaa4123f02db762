//! A mandate that is sent a second time is an event of the product's Gateway.

use caracal_tests::mint::{AUDIENCE, ZONE};
use caracal_tests::processes::Sts;

use super::*;

#[test]
fn a_replay_is_an_event_without_its_token() {
    let redis = Redis::default();
    let resources = json!({AUDIENCE: {"scopes": ["billing:read"], "upstream_url": "https://upstream.test/base", "decision": "allow"}});
    let sts = Sts::start(&[ZONE], &resources);
    let folder = folder("audit");
    let companion = audited(&redis.url(), &folder).gateway(&sts.url()).started();
    let mandate = sts.mandate(AUDIENCE);
    let ask = |request_id: &str| {
        let body = json!({
            "mandate": mandate, "resource": AUDIENCE, "method": "GET", "path": "/invoices", "request_id": request_id,
        });
        companion.post("/v1/exchange", &body, None).json()
    };
    until("it is exchanged", SOON, || {
        ask("request-1")["granted"].is_object()
    });
    assert_eq!(ask("request-2")["refused"]["cause"], "replay");
    assert_eq!(ask("not/found")["refused"]["cause"], "replay");
    let arrived = until_arrived(&redis, 2);
    let event = &arrived[0].event;
    assert_eq!(event["event_type"], "replay_detected");
    assert_eq!(
        (&event["decision"], &event["evaluation_status"]),
        (&json!("deny"), &json!("anomaly"))
    );
    assert_eq!(
        (&event["zone_id"], &event["request_id"]),
        (&json!(ZONE), &json!("request-2"))
    );
    let names: Vec<&String> = event["metadata_json"].as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        ["client_id", "jti", "request_id", "resource", "subject_fp"]
    );
    assert_eq!(event["metadata_json"]["client_id"], "app-1");
    // One that the product would not find gets another id.
    let other = &arrived[1].event;
    assert_eq!(other["request_id"].as_str().unwrap().len(), 36);
    assert_eq!(other["request_id"], other["metadata_json"]["request_id"]);
    let token = mandate.as_bytes();
    let signature = token.rsplit(|b| *b == b'.').next().unwrap();
    for bytes in arrived.iter().map(|stored| stored.data.clone()).chain(
        files(&folder, "audit")
            .iter()
            .map(|f| std::fs::read(f).unwrap()),
    ) {
        assert!(!bytes.windows(signature.len()).any(|part| part == signature));
    }
}
