//! Several zones: each is described, and its cluster must be there.

use super::*;

#[test]
fn zones_and_their_key_sets_are_described() {
    let folder = folder("zones");
    let file = folder.join("filter.json");
    let edge = json!({
        "issuer": "https://sts.example", "jwks": {"upstream": "sts"}, "revocation": "disabled",
        "zones": {"zone-a": {}, "zone-b": {"issuer": "https://b.example", "jwks": {"upstream": "sts-b"}}},
        "resources": {"resource://all": {}, "resource://some": {"zones": ["zone-b"]}},
    });
    fs::write(&file, edge.to_string()).unwrap();
    let done = call(&[file.to_str().unwrap()]);
    let words = String::from_utf8(done.stdout).unwrap();
    assert_eq!(done.status.code(), Some(0), "{words}");
    for line in [
        "zone      zone-a",
        "zone      zone-b",
        "issuer    https://sts.example",
        "issuer    https://b.example",
        "key set   https://sts.example/.well-known/jwks.json?zone_id=zone-a through sts",
        "key set   https://b.example/.well-known/jwks.json?zone_id=zone-b through sts-b",
        "          of zones zone-b",
    ] {
        assert!(words.contains(&format!("{line}\n")), "{line}\n{words}");
    }
    let _ = fs::remove_dir_all(&folder);
}

#[test]
fn a_zone_s_cluster_that_is_not_in_the_file_is_warned_of() {
    let folder = folder("zone-clusters");
    let text = fs::read_to_string(root().join("envoy.yaml")).unwrap();
    let zones = r#""zones": {"zone-demo": {}, "zone-b": {"jwks": {"upstream": "nowhere"}}}"#;
    let text = text.replace(r#""zone_id": "zone-demo""#, zones);
    let file = folder.join("envoy.yaml");
    fs::write(&file, text).unwrap();
    let done = call(&[file.to_str().unwrap(), "--strict"]);
    let words = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
    assert_eq!(done.status.code(), Some(1), "{words}");
    assert!(words.contains("zones[\"zone-b\"].jwks.upstream"), "{words}");
    assert!(words.contains("\"nowhere\" is not in the file"), "{words}");
    let _ = fs::remove_dir_all(&folder);
}
