//! What is said of a token by where it says that it is from, by what its claims are
//! instead of what they have to be, and of what was not looked at.

use caracal_tests::mint::{Key, claims, key_set};
use serde_json::{Value, json};

use crate::broken::edge;
use crate::{Folder, NOW, call, text};

pub(super) const IDP: &str = "https://idp.example.test";
pub(super) const ELSEWHERE: &str = "its iss (unverified) is \"https://idp.example.test\", and the configured issuer is \"https://sts.example.test\"";
pub(super) const OTHER_ZONE: &str =
    "its zone_id (unverified) is \"zone-2\", and the configured zone_id is \"zone-1\"";

/// A token, and what has to be said of it and what must not.
pub(super) struct Said {
    name: &'static str,
    token: String,
    keys: Value,
    says: &'static [&'static str],
    says_not: &'static [&'static str],
}

/// What is to change, of a token and a key set in a file.
pub(super) fn change(folder: &Folder, token: &str, keys: &Value, more: &[&str]) -> String {
    let configuration = folder.file("filter.json", edge().to_string());
    let keys = folder.file("keys.json", keys.to_string());
    let at = NOW.to_string();
    let arguments = [
        &configuration,
        "--key-set",
        &keys,
        "--at",
        &at,
        "--token-file",
        "-",
        "--path",
        "/invoices",
    ];
    let done = call(&[&arguments[..], more].concat(), token.as_bytes());
    let said = text(&done);
    assert_eq!(done.status.code(), Some(1), "{said}");
    for part in token.split('.').filter(|part| part.len() > 20) {
        assert!(!said.contains(&part[..20]), "the token is printed: {said}");
    }
    let (_, change) = said.split_once("What to change\n").unwrap_or_default();
    let change = change.split("\n\n").next().unwrap_or_default();
    change.to_owned()
}

pub(super) fn has_to_say(all: Vec<Said>) {
    let folder = Folder::new("origin");
    for one in all {
        let change = change(&folder, &one.token, &one.keys, &[]);
        for words in one.says {
            assert!(change.contains(words), "{}: {words}\n{change}", one.name);
        }
        for words in one.says_not {
            assert!(!change.contains(words), "{}: {words}\n{change}", one.name);
        }
    }
}

#[test]
fn an_unknown_kid_is_explained_by_where_the_token_is_from() {
    let (own, other) = (Key::new("k1", 1), Key::new("k9", 9));
    let many: Vec<Key> = (1..=12).map(|n| Key::new(&format!("key-{n}"), n)).collect();
    let many = key_set(&many.iter().collect::<Vec<_>>());
    let mut unusable = key_set(&[&own, &other]);
    unusable["keys"][1]["use"] = json!("enc");
    let mut without_alg = key_set(&[&own, &other]);
    without_alg["keys"][1]
        .as_object_mut()
        .unwrap()
        .remove("alg");
    let mut odd = without_alg.clone();
    odd["keys"][1]["kid"] = json!("k8");
    let of = |name, changes, says, says_not| Said {
        name,
        token: other.mandate(NOW, changes),
        keys: key_set(&[&own]),
        says,
        says_not,
    };
    has_to_say(vec![
        of(
            "another issuer",
            json!({"iss": IDP}),
            &[
                "it has [\"k1\"]",
                ELSEWHERE,
                "asks the STS \"https://sts.example.test\" for a mandate of zone \"zone-1\"",
                "the operator sets issuer to \"https://idp.example.test\"",
            ],
            // Neither the key set is to blame, nor is the issuer told twice.
            &[
                "fetches the key set again",
                "Then also",
                "zone_id (unverified)",
            ],
        ),
        of(
            "another zone",
            json!({"zone_id": "zone-2"}),
            &[OTHER_ZONE, "sets zone_id to \"zone-2\""],
            &["fetches the key set again", "Then also", "iss (unverified)"],
        ),
        of(
            "both",
            json!({"iss": IDP, "zone_id": "zone-2"}),
            &[
                ELSEWHERE,
                OTHER_ZONE,
                "sets issuer to \"https://idp.example.test\" and zone_id to \"zone-2\"",
            ],
            &["Then also"],
        ),
        of(
            "no zone",
            json!({"zone_id": null}),
            &["its zone_id (unverified) is absent"],
            &["Or, if the edge should trust"],
        ),
        of(
            "a slash more is the same STS, and the issuer's check says the rest",
            json!({"iss": "https://sts.example.test/"}),
            &[
                "fetches the key set again",
                "- Then also: The mandate's iss and",
            ],
            &["from elsewhere"],
        ),
        Said {
            keys: many,
            ..of("many keys", json!({}), &["\"key-8\", 4 more]"], &["key-9"])
        },
        Said {
            keys: unusable,
            ..of(
                "an unusable key",
                json!({}),
                &[
                    "The key set has a key \"k9\", and it is not used: its use or key_ops is not for verifying. ",
                    "Whoever runs the STS corrects that key in the key set",
                ],
                &["fetches the key set again"],
            )
        },
        Said {
            keys: without_alg,
            ..of(
                "a key without alg",
                json!({}),
                &[
                    "The key set has a key \"k9\", and it is not used: kty, crv and alg together name no algorithm that is allowed here",
                ],
                &["fetches the key set again"],
            )
        },
        Said {
            keys: odd,
            ..of(
                "another that is not used",
                json!({}),
                &[
                    "it has [\"k1\"], and 1 that cannot be used (\"k8\": kty, crv and alg together name no algorithm that is allowed here).",
                ],
                &[],
            )
        },
        Said {
            token: other.sign(&json!(["k9"])),
            ..of(
                "no claims",
                json!({}),
                &["payload is not a JSON object", "is not a mandate"],
                &["fetches the key set again", "Revocation was not checked"],
            )
        },
    ]);
}

#[test]
fn a_bad_signature_is_explained_by_where_the_token_is_from() {
    let (own, other) = (Key::new("k1", 1), Key::new("k1", 9));
    let of = |name, token, says, says_not| Said {
        name,
        token,
        keys: key_set(&[&own]),
        says,
        says_not,
    };
    has_to_say(vec![
        of(
            "another issuer",
            other.mandate(NOW, json!({"iss": IDP})),
            &[
                ELSEWHERE,
                "another issuer's key that has the same kid \"k1\"",
                "sets issuer to \"https://idp.example.test\"",
                "it was altered afterwards",
            ],
            &["compares x and y", "Then also"],
        ),
        of(
            "another zone",
            other.mandate(NOW, json!({"zone_id": "zone-2"})),
            &[OTHER_ZONE, "another issuer's key"],
            &["compares x and y", "Then also"],
        ),
        of(
            "no claims",
            other.sign(&json!("claims")),
            &["No STS signs such a payload", "altered or cut"],
            &["compares x and y"],
        ),
        of(
            "the same",
            other.mandate(NOW, json!({"sid": null})),
            &[
                "altered, forged, or from before",
                "another key \"k1\" than the key set has",
            ],
            &["from elsewhere"],
        ),
    ]);
}

#[test]
fn another_algorithm_is_for_whoever_mints_to_mend() {
    let key = Key::new("k1", 1);
    let of = |name, alg: &str, changes, says, says_not| Said {
        name,
        token: key.sign_as(&json!({"alg": alg, "kid": "k1"}), &claims(NOW, changes)),
        keys: key_set(&[&key]),
        says,
        says_not,
    };
    has_to_say(vec![
        of(
            "of another issuer",
            "HS256",
            json!({"iss": IDP}),
            &[
                ELSEWHERE,
                "its alg is \"HS256\"",
                "which signs with ES256.",
                "never add \"HS256\" to algorithms",
            ],
            // An edge that trusted that issuer would refuse its tokens too.
            &["the operator sets issuer", "Then also"],
        ),
        of(
            "none, of the own",
            "none",
            json!({}),
            &["makes it sign with ES256", "never add \"none\""],
            &["the operator adds"],
        ),
        of(
            "one that could be allowed",
            "EdDSA",
            json!({}),
            &[
                "from the configured STS \"https://sts.example.test\", zone \"zone-1\"",
                "the operator adds \"EdDSA\" to algorithms",
            ],
            &["never add"],
        ),
        of(
            "one that could be allowed, of another issuer",
            "EdDSA",
            json!({"iss": IDP}),
            &[ELSEWHERE, "which signs with ES256."],
            &["never add", "the operator adds"],
        ),
        Said {
            token: key.sign_as(&json!({"kid": "k1"}), &claims(NOW, json!({}))),
            ..of(
                "no algorithm",
                "",
                json!({}),
                &["its alg is absent", "Nothing needs to change at the edge."],
                &["never add"],
            )
        },
    ]);
}

#[test]
fn an_absent_claim_is_told_from_one_of_another_type() {
    let key = Key::new("k1", 1);
    let of = |name, changes, says, says_not| Said {
        name,
        token: key.mandate(NOW, changes),
        keys: key_set(&[&key]),
        says,
        says_not,
    };
    has_to_say(vec![
        of(
            "a number",
            json!({"sid": 7, "root_sid": null, "exp": "soon"}),
            &[
                "the claim exp must be an integer in 0..2^63-1 (seconds); here it is the text \"soon\"",
                "Also absent: root_sid.",
                "Also not right: sid is the number 7.",
                "corrects what it issues as exp",
                "names the configured issuer \"https://sts.example.test\"",
            ],
            &["ID token"],
        ),
        of(
            "of another issuer, absent",
            json!({"sid": null, "iss": IDP}),
            &[
                "here it is absent",
                "names as issuer \"https://idp.example.test\", and not the configured \"https://sts.example.test\"",
                "an ID token from elsewhere",
            ],
            &["Also", "corrects what it issues"],
        ),
        of(
            "of another issuer, of another type",
            json!({"sid": true, "iss": IDP}),
            &[
                "here it is the boolean true",
                "names as issuer \"https://idp.example.test\"",
                "not a mandate from the Caracal STS",
            ],
            &["ID token"],
        ),
        of(
            "empty",
            json!({"root_sid": ""}),
            &["here it is an empty text", "corrects what it issues"],
            &["ID token", "absent"],
        ),
        of(
            "a list with something else in it",
            json!({"aud": ["a", 5]}),
            &["here it is an array of 2, one of them the number 5"],
            &[],
        ),
        of(
            "the Gateway's",
            json!({"use": "gateway"}),
            &["is for Caracal's Gateway", "sets \"mode\": \"gateway\""],
            &["corrects what it issues", "ID token", "sets required_use"],
        ),
    ]);
    let folder = Folder::new("claims-absent");
    let configuration = folder.file("filter.json", edge().to_string());
    let arguments = [&configuration, "--claims", "-", "--path", "/"];
    let document = claims(NOW, json!({"sid": null})).to_string();
    let said = text(&call(&arguments, document.as_bytes()));
    assert!(said.contains("In these claims the claim sid"), "{said}");
    assert!(!said.contains("signed the token"), "{said}");
}
