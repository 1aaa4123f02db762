use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_767_225_600_000_000;
const ID: &str = "01980000-0000-7000-8000-000000000001";

fn event(changes: Value) -> Value {
    let mut event = json!({
        "id": ID, "occurred_at_us": NOW, "zone_id": "z", "event_type": "edge_resource_request",
        "request_id": "r-1", "decision": "allow", "evaluation_status": "executed",
        "metadata": {},
    });
    for (name, value) in changes.as_object().unwrap() {
        event[name] = value.clone();
    }
    event
}

fn read_all(events: &[Value]) -> Read {
    let body = json!({"events": events}).to_string();
    read(body.as_bytes(), None, NOW).unwrap()
}

/// The product's event, or why there is none.
fn one(event: Value) -> Result<Value, &'static str> {
    let read = read_all(&[event]);
    match read.made.first() {
        Some(made) => Ok(serde_json::from_str(&made.data).unwrap()),
        None => Err(read.why),
    }
}

fn with(name: &str, value: impl Into<Value>) -> Result<Value, &'static str> {
    one(event(json!({"metadata": {name: value.into()}})))
}

#[test]
fn metadata_has_one_order_and_leaves_out_what_is_not_so() {
    let body = format!(
        r#"{{"events":[{{"id":"{ID}","occurred_at_us":{NOW},"zone_id":"z","event_type":"gateway_resource_request","request_id":"r","decision":"deny","evaluation_status":"denied",
        "metadata":{{"reason":"no","shadow":true,"revocation_interrupted":false,"error_kind":"k","delegation_edge_id":"d","agent_session_id":"a","result_class":"success","upstream_status":200,"connection_id":"c","provider_id":"p","auth_mode":"m","upstream_host":"h","trace_id":"t","response_bytes":3,"latency_ms":2,"gateway_status":200,"method":"GET","subject_kind":"agent","subject_fingerprint":"0123456789abcdef","resource":"x","application_id":"app"}}}}]}}"#
    );
    let read = read(body.as_bytes(), None, NOW).unwrap();
    assert!(read.made[0].data.contains(
        r#""diagnostics_json":[{"reason":"no"}],"metadata_json":{"application_id":"app","resource":"x","subject_fingerprint":"0123456789abcdef","subject_kind":"agent","method":"GET","gateway_status":200,"latency_ms":2,"response_bytes":3,"trace_id":"t","upstream_host":"h","auth_mode":"m","provider_id":"p","connection_id":"c","upstream_status":200,"result_class":"success","agent_session_id":"a","delegation_edge_id":"d","error_kind":"k","shadow":true,"reason":"no"}"#
    ), "{}", read.made[0].data);
}

#[test]
fn a_wrong_event_costs_itself_alone() {
    let wrong = [
        json!(7),
        json!({}),
        event(json!({"id": "01980000-0000-4000-8000-000000000001"})),
        event(json!({"id": "01980000-0000-7000-8000-00000000000A"})),
        event(json!({"id": "01980000000070008000000000000001"})),
        event(json!({"id": ""})),
        event(json!({"occurred_at_us": "1"})),
        event(json!({"occurred_at_us": 1.5})),
        event(json!({"occurred_at_us": u64::MAX})),
        event(json!({"zone_id": ""})),
        event(json!({"zone_id": "a\u{0}"})),
        event(json!({"zone_id": "z".repeat(1_025)})),
        event(json!({"zone_id": null})),
        event(json!({"event_type": "replay_detected"})),
        event(json!({"decision": "partial"})),
        event(json!({"evaluation_status": "anomaly"})),
        event(json!({"request_id": "a b"})),
        event(json!({"request_id": "x".repeat(129)})),
        event(json!({"diagnostic": ""})),
        event(json!({"diagnostic": "Not a name"})),
        event(json!({"diagnostic": "d".repeat(65)})),
        event(json!({"metadata": null})),
        event(json!({"metadata": {"method": 1}})),
        event(json!({"metadata": {"gateway_status": "200"}})),
        event(json!({"metadata": {"gateway_status": 70_000}})),
        event(json!({"metadata": {"latency_ms": -1}})),
        event(json!({"metadata": {"response_bytes": u64::MAX}})),
        event(json!({"metadata": {"shadow": "true"}})),
        event(json!({"metadata": {"subject_fingerprint": "0123"}})),
        event(json!({"metadata": {"subject_fingerprint": "0123456789ABCDEF"}})),
        event(json!({"metadata": {"resource": "r".repeat(1_025)}})),
    ];
    for bad in wrong {
        let good = |last: u8| event(json!({"id": ID.replace("0001", &format!("000{last}"))}));
        let read = read_all(&[good(1), bad.clone(), good(2)]);
        assert_eq!((read.made.len(), read.rejected), (2, 1), "{bad}");
        let sent = bad.to_string();
        assert!(
            !read.why.is_empty() && !sent.contains(read.why),
            "{}",
            read.why
        );
    }
}

#[test]
fn a_diagnostic_is_more_precise_than_the_code() {
    let both = one(event(
        json!({"decision": "deny", "diagnostic": "expired", "metadata": {"reason": "invalid_token"}}),
    ));
    let made = both.unwrap();
    assert_eq!(made["diagnostics_json"], json!([{"reason": "expired"}]));
    assert_eq!(made["metadata_json"]["reason"], "invalid_token");
}

/// A newer filter knows more than this companion.
#[test]
fn unknown_members_are_left_out() {
    let plain = one(event(json!({"metadata": {"method": "GET"}}))).unwrap();
    let more = event(json!({
        "session_id": "s", "v": [{"deep": null}],
        "metadata": {"method": "GET", "token": "t", "n": {"method": 1}},
    }));
    assert_eq!(one(more.clone()).unwrap(), plain);
    let body = json!({"version": 2, "events": [more]}).to_string();
    assert_eq!(read(body.as_bytes(), None, NOW).unwrap().made.len(), 1);
    // Known ones that come twice are wrong still.
    for twice in [
        event(json!({}))
            .to_string()
            .replacen('{', r#"{"zone_id":"y","#, 1),
        event(json!({"metadata": {"method": "GET"}}))
            .to_string()
            .replacen("method", r#"method":"PUT","method"#, 1),
    ] {
        let body = format!(r#"{{"events":[{twice}]}}"#);
        let read = read(body.as_bytes(), None, NOW).unwrap();
        assert_eq!((read.made.len(), read.rejected), (0, 1), "{twice}");
    }
}

/// The bytes of one event could make the whole body unreadable.
#[test]
fn odd_bytes_cost_nobody_else_an_event() {
    let good = event(json!({})).to_string();
    for (odd, is_good) in [
        (&b"\"\\ud800\""[..], false),
        (b"\"a\\u0000b\"", true),
        (b"\"a\x00b\"", true),
        (b"\"a\xff\xfeb\"", true),
        (b"\"a\x0ab\"", true),
        (b"\"\xed\xa0\x80\"", true),
        (b"1e999", false),
    ] {
        let mut body = format!(r#"{{"events":[{good},"#).into_bytes();
        let second = event(json!({"metadata": {"method": "?"}})).to_string();
        let (before, after) = second.split_once("\"?\"").unwrap();
        body.extend_from_slice(before.as_bytes());
        body.extend_from_slice(odd);
        body.extend_from_slice(format!("{after},{good}]}}").as_bytes());
        let read = read(&body, None, NOW).unwrap();
        let wrong = u64::from(!is_good);
        assert_eq!(
            (read.made.len() as u64, read.rejected),
            (3 - wrong, wrong),
            "{odd:?}"
        );
        for made in &read.made {
            let event: Value = serde_json::from_str(&made.data).unwrap();
            let method = event["metadata_json"]["method"].as_str().unwrap_or("");
            assert!(!method.chars().any(char::is_control), "{method:?}");
        }
    }
}

#[test]
fn texts_are_cleaned_and_bounded() {
    let method = |text: &str| with("method", text).unwrap()["metadata_json"]["method"].clone();
    assert_eq!(method("G\u{0}E\u{1b}[2JT\u{7f}\u{85}"), "GE[2JT");
    assert_eq!(method("\u{0}"), Value::Null);
    assert_eq!(method(""), Value::Null);
    assert_eq!(method("é\u{fffd}\u{1f600}"), "é\u{fffd}\u{1f600}");
    assert_eq!(method(&"m".repeat(1_024)), "m".repeat(1_024));
    assert!(with("method", "m".repeat(1_025)).is_err());
}

#[test]
fn the_largest_event_is_small_enough() {
    let mut metadata = Metadata::default();
    for text in metadata.texts() {
        *text = Some("\"".repeat(MAX_TEXT));
    }
    metadata.subject_fingerprint = None;
    let metadata = serde_json::to_value(&metadata).unwrap();
    let largest = json!({"zone_id": "\"".repeat(MAX_TEXT), "metadata": metadata});
    let data = read_all(&[event(largest)]).made[0].data.clone();
    assert!(
        (32_000..crate::audit::product::MAX_DATA).contains(&data.len()),
        "{}",
        data.len()
    );
}

/// An id of this time, in Unix microseconds.
fn id_at(us: i64) -> String {
    let id = u128::from_str_radix(&ID.replace('-', ""), 16).unwrap();
    let ms = u128::try_from(us / 1_000).unwrap();
    Uuid::from_u128((ms << 80) | (id & ((1 << 80) - 1))).to_string()
}

#[test]
fn a_time_that_cannot_be_gives_way_to_that_of_the_id() {
    let at = |us: i64, id_us: i64| {
        let event = one(event(json!({"occurred_at_us": us, "id": id_at(id_us)})));
        event.map(|event| event["occurred_at"].as_str().unwrap().to_owned())
    };
    let (behind, ahead) = (NOW - MAX_BEHIND_US, NOW + MAX_AHEAD_US);
    for us in [NOW + 1, behind, ahead] {
        assert_eq!(at(us, 0), at(us, NOW));
    }
    assert_eq!(at(NOW + 1, 0).unwrap(), "2026-01-01T00:00:00.000001Z");
    for us in [behind - 1, ahead + 1, 0, -1, i64::MIN, i64::MAX] {
        assert_eq!(at(us, NOW + 7_999).unwrap(), "2026-01-01T00:00:00.007000Z");
        assert_eq!(at(us, behind).unwrap(), "2025-12-31T00:00:00.000000Z");
        assert_eq!(at(us, ahead).unwrap(), "2026-01-01T00:05:00.000000Z");
        for id_us in [behind - 1_000, ahead + 1_000, 0] {
            assert!(at(us, id_us).unwrap_err().contains("occurred_at_us"));
        }
    }
}

/// The clocks of two companions differ, and time passes between them.
#[test]
fn an_event_that_comes_again_later_is_the_same() {
    let body = |us: i64| {
        let event = event(json!({"occurred_at_us": us, "id": id_at(NOW)}));
        json!({"events": [event]}).to_string()
    };
    for us in [NOW, 0, i64::MAX] {
        let at = |now: i64| read(body(us).as_bytes(), None, now).unwrap().made.pop();
        let first = at(NOW).unwrap();
        for later in [-MAX_AHEAD_US, 1, 3_600_000_000, MAX_BEHIND_US] {
            assert_eq!(at(NOW + later).unwrap().data, first.data, "{us} {later}");
        }
        assert!(at(NOW + MAX_BEHIND_US + 1).is_none());
    }
}

#[test]
fn a_batch_is_bounded() {
    let many = |count: usize| json!({"events": vec![event(json!({})); count]}).to_string();
    assert_eq!(
        read(many(500).as_bytes(), None, NOW).unwrap().made.len(),
        500
    );
    for bad in [
        many(501),
        many(0),
        "[]".into(),
        r#"{"events":{}}"#.into(),
        String::new(),
    ] {
        assert!(read(bad.as_bytes(), None, NOW).is_err(), "{bad:.40}");
    }
}
