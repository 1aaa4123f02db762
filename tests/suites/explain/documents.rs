//! Public metadata (RFC 9728): a request for a document is answered, and nothing is asked;
//! a refusal shows the whole challenge.

use super::*;

const PATH: &str = "/.well-known/oauth-protected-resource/mcp";

fn configured(folder: &Folder) -> String {
    let mut edge = edge();
    edge["challenge"] = json!({"realm": "files"});
    edge["metadata"] = json!({"resource": "https://edge.test/mcp"});
    folder.file("filter.json", edge.to_string())
}

/// The edge has no key set here, and the STS does not exist.
#[test]
fn a_request_for_a_document_is_answered_without_asking_anybody() {
    let folder = Folder::new("document");
    let configuration = configured(&folder);
    for method in ["GET", "HEAD"] {
        let arguments = [&configuration, "--path", PATH, "--method", method];
        let done = call(&arguments, b"");
        assert_eq!(done.status.code(), Some(0));
        let said = text(&done);
        for words in [
            "The edge answers it itself: 200",
            "access-control-allow-origin: *",
            "cache-control: public, max-age=300",
        ] {
            assert!(said.contains(words), "{words}\n{said}");
        }
        let body = "\"resource\":\"https://edge.test/mcp\"";
        assert_eq!(said.contains(body), method == "GET", "{said}");
        let done = call(&[&arguments[..], &["--json"]].concat(), b"");
        let said: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(said["verdict"], "answered");
        assert_eq!(said["reply"]["status"], 200);
        assert_eq!(said["checks"], json!([]));
    }
    for arguments in [
        [
            "--path",
            "/.well-known/oauth-protected-resource/mcp?x",
            "--method",
            "GET",
        ],
        ["--path", PATH, "--method", "POST"],
        ["--path", PATH, "--header", "content-type: application/grpc"],
    ] {
        let done = call(&[&[configuration.as_str()][..], &arguments].concat(), b"");
        assert_eq!(done.status.code(), Some(1), "{arguments:?}");
        assert!(text(&done).contains("missing_token"), "{}", text(&done));
    }
}

fn challenge(said: &Value) -> &str {
    let headers = said["reply"]["headers"].as_array().unwrap();
    let named = headers.iter().find(|one| one[0] == "www-authenticate");
    named.unwrap()[1].as_str().unwrap()
}

#[test]
fn a_refusal_shows_the_whole_challenge() {
    let folder = Folder::new("challenge");
    let configuration = configured(&folder);
    let done = call(&[&configuration, "--path", "/payouts/1", "--json"], b"");
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(
        challenge(&said),
        "Bearer realm=\"files\", scope=\"billing:payout\", resource_metadata=\"https://edge.test/.well-known/oauth-protected-resource/mcp\""
    );
}

/// Gateway mode looks for the token before the request has to name its resource. The only
/// resource is known by then, as in the suite `metadata_in_process`.
#[test]
fn a_request_that_names_no_resource_is_challenged_for_the_only_one() {
    let folder = Folder::new("unnamed");
    let settings = configuration(json!({
        "audience": null, "mode": "gateway", "gateway": {"upstream": "feed"},
        "resources": {"a": {
            "upstream_url": "https://api.test/", "required_scopes": ["a:use"],
            "metadata": {"resource": "https://edge.test/a"},
        }},
    }));
    let file = folder.file("filter.json", settings.to_string());
    let done = call(&[&file, "--path", "/x", "--json"], b"");
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(
        challenge(&said),
        "Bearer realm=\"caracal\", scope=\"a:use\", resource_metadata=\"https://edge.test/.well-known/oauth-protected-resource/a\""
    );
}
