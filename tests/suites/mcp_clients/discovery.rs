//! A client without a token finds the document that the challenge names, and in it the
//! authorization server. The flow ends there: Caracal's STS registers no such clients.

use std::net::{SocketAddr, TcpListener, TcpStream};

use super::*;

/// Passes connections on. The document has the port that clients use, and Envoy's own is
/// known too late for that.
fn passing_on(from: TcpListener, to: SocketAddr) {
    std::thread::spawn(move || {
        for client in from.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(to) else {
                return;
            };
            let both = [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ];
            for (mut one, mut other) in both {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut one, &mut other);
                    let _ = other.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
}

#[test]
fn a_client_without_a_token_finds_the_authorization_server() {
    let public = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", public.local_addr().unwrap());
    let around = Around::default();
    let redis = Redis::default();
    let companion = Companion::of(&redis.url()).started();
    let issuer = format!("http://{}", around.sts.address());
    let envoy = around
        .setup_of(Setup::new([configuration(json!({
            "issuer": issuer, "allow_insecure_issuer": true,
            "revocation": {"upstream": "feed", "max_staleness_s": 30},
            "required_scopes": ["mcp:use"],
            "metadata": {"resource": format!("{origin}/mcp"), "scopes_supported": ["mcp:use"]},
            "routes": {"/mcp": {"mcp": {"tools": {"search": {}}, "body": true}}},
        }))]))
        .cluster("upstream", around.sts.address())
        .cluster("feed", companion.address)
        .shows_body()
        .start()
        .unwrap_or_else(|log| panic!("{log}"));
    passing_on(public, envoy.listener(0));
    for name in ["discovery.mjs", "discovery.py"] {
        let mut client = Script::start(name);
        let _ = writeln!(client.input, "{}", json!({"url": format!("{origin}/mcp")}));
        let Some(said) = client.next() else {
            client.is_skipped();
            return;
        };
        let asked = said["asked"].as_array().unwrap();
        assert_eq!(
            asked[0],
            json!(["POST", format!("{origin}/mcp"), 401]),
            "{said}"
        );
        let document = format!("{origin}/.well-known/oauth-protected-resource/mcp");
        assert_eq!(asked[1], json!(["GET", document, 200]), "{name} {said}");
        // It asks the issuer that the document names for its own document.
        let next = asked[2][1].as_str().unwrap();
        let wanted = format!("{issuer}/.well-known/");
        assert!(next.starts_with(&wanted), "{name} {said}");
        assert_eq!(said["scope"], "mcp:use", "{name} {said}");
        assert!(said["failed"].is_string(), "{name} {said}");
    }
}
