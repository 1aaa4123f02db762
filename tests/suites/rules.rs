//! Every table of deploy/RULES.md, put to the configuration above it.

use std::collections::BTreeMap;

use caracal_mandate::config::Configuration;
use caracal_mandate::decision::context::Context;
use caracal_mandate::decision::verifier::{Screened, Verdict, Verifier};
use caracal_mandate::jwks::algorithm::Algorithm;
use caracal_mandate::jwks::key_set::KeySet;
use caracal_mandate::jwks::signature::PureRust;
use caracal_mandate::reply::Refusal;
use caracal_mandate::request::RequestView;
use caracal_mandate::revocation::Disabled;
use caracal_mandate::token::cache::MandateCache;
use caracal_tests::mint::{Key, key_set};
use caracal_tests::root;
use serde_json::json;

const NOW: u64 = 1_767_225_600;

/// The cells of a row: words without their back quotes.
fn cells(line: &str) -> Vec<String> {
    let inside = line.trim_start_matches('|').trim_end_matches('|');
    let cells = inside.split('|').map(|cell| cell.trim().replace('`', ""));
    cells.collect()
}

#[test]
fn the_tables_say_what_is_answered() {
    let page = std::fs::read_to_string(root().join("deploy/RULES.md")).unwrap();
    let mut rows = 0;
    for part in page.split("```json\n").skip(1) {
        let (document, rest) = part.split_once("```\n").unwrap();
        let configuration = Configuration::from_json(document.as_bytes(), &|_| None).unwrap();
        let table = rest.lines().skip_while(|line| !line.starts_with('|'));
        let mut table = table.take_while(|line| line.starts_with('|'));
        let names = cells(table.next().unwrap());
        for line in table.skip(1) {
            let row: BTreeMap<String, String> = names.iter().cloned().zip(cells(line)).collect();
            assert_eq!(answer(&configuration, &row), row["answer"], "{line}");
            rows += 1;
        }
    }
    assert_eq!(page.matches("```json").count(), 3);
    assert!(rows > 30, "{rows}");
}

fn answer(configuration: &Configuration, row: &BTreeMap<String, String>) -> String {
    let cell = |name: &str| row.get(name).map_or("", String::as_str);
    let key = Key::new("k1", 1);
    let scope = Some(cell("with scope")).filter(|scope| !scope.is_empty());
    let claims = json!({
        "iss": configuration.issuer, "zone_id": configuration.zone_id,
        "aud": cell("mandate for"), "scope": scope,
    });
    let bearer = format!("Bearer {}", key.mandate(NOW, claims));
    let has_mandate = !cell("mandate for").is_empty();
    let authorization = [bearer.as_bytes()];
    let resource = [cell("X-Caracal-Resource").as_bytes()];
    let has_resource = !cell("X-Caracal-Resource").is_empty();
    let (method, path) = cell("request").split_once(' ').unwrap();
    let host = row.get("host").map_or("edge.example.com", String::as_str);
    let view = RequestView {
        names_client: false,
        lists_end_to_end: false,
        mcp: None,
        method: Some(method.as_bytes()),
        target: Some(path.as_bytes()),
        authority: Some(host.as_bytes()),
        resource: &resource[..usize::from(has_resource)],
        authorization: &authorization[..usize::from(has_mandate)],
    };
    let refused = |refusal: &Refusal| {
        let code = refusal.code();
        format!("{} {}", code.http_status(), code.as_str())
    };
    let verifier = Verifier::from(configuration);
    let mut cache = MandateCache::new(1);
    let credential = match verifier.screen(&view, &cache) {
        Ok(Screened::Excluded) => return "excluded".to_owned(),
        Ok(Screened::Credential(credential)) => credential,
        Err(refusal) => return refused(&refusal),
    };
    let keys = key_set(&[&key]).to_string();
    let keys = KeySet::parse(keys.as_bytes(), &[Algorithm::Es256]).unwrap();
    let context = Context {
        keys: Some(&keys),
        revocation: &Disabled,
        signatures: &PureRust,
        now: NOW,
    };
    match verifier.decide(&credential, context, &mut cache) {
        Verdict::Admitted(_) => "admitted".to_owned(),
        Verdict::Refused(refusal, _) => refused(&refusal),
        other => panic!("{other:?}"),
    }
}
