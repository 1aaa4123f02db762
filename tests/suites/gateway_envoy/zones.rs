//! Gateway mode for several zones: each mandate is exchanged in its own zone.

use super::scene::{Scene, claims, resource};
use caracal_tests::mint::AUDIENCE;
use serde_json::json;

const ZONES: [&str; 2] = ["zone-1", "zone-2"];

#[test]
fn a_mandate_is_exchanged_in_its_own_zone_and_another_zone_burns_nothing() {
    let resources = json!({ AUDIENCE: resource(json!({"provider": {"kind": "caracal_mandate"}})) });
    let scene = Scene::of_zones(&["zone-1", "zone-2", "zone-3"], resources, &ZONES);
    let of = |zone: &str| {
        let answer = scene.sts.ask(&[("zone_id", zone)]);
        answer.json()["access_token"].as_str().unwrap().to_owned()
    };
    for zone in ZONES {
        let mandate = of(zone);
        assert_eq!(claims(&mandate)["zone_id"], zone);
        let answer = scene.send("/", &mandate, &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
        let reached = scene.reached();
        let [request] = reached.as_slice() else {
            panic!("{} requests", reached.len());
        };
        let sent = request.all("authorization");
        let token = sent[0].strip_prefix("Bearer ").unwrap();
        assert_eq!(
            claims(token)["zone_id"],
            zone,
            "the upstream's mandate is of the same zone"
        );
        assert!(scene.used_by(&mandate).is_some());
        assert_eq!(scene.send("/", &mandate, &[]).status, 401, "it is used up");
    }
    // The STS knows the zone, and the edge does not accept it.
    let before = scene.sts.exchanges();
    let mandate = of("zone-3");
    let answer = scene.send("/", &mandate, &[]);
    let said = (answer.status, answer.error());
    assert_eq!(said, (401, "zone_invalid".to_owned()));
    assert_eq!(scene.used_by(&mandate), None);
    assert_eq!(scene.sts.exchanges(), before);
    assert_eq!(scene.reached().len(), 0);
}
