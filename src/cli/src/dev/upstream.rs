//! The service behind the edge, for development: it answers with what it received.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use axum::extract::Request;
use axum::{Json, Router};
use caracal_mandate::token::fingerprint::Fingerprint;
use clap::Args;
use serde_json::{Value, json};

use crate::loopback;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:7702")]
    listen: SocketAddr,
    /// Listens beyond loopback.
    #[arg(long)]
    allow_remote: bool,
    /// Writes the address to this file when it listens.
    #[arg(long)]
    address_file: Option<PathBuf>,
}

pub(crate) fn routes() -> Router {
    Router::new().fallback(echo)
}

/// The same, and how many requests came.
pub(crate) fn counted(requests: Arc<AtomicU64>) -> Router {
    Router::new().fallback(move |request: Request| {
        requests.fetch_add(1, Ordering::SeqCst);
        echo(request)
    })
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let listener = loopback::bind(arguments.listen, arguments.allow_remote).await?;
    loopback::serve(listener, routes(), arguments.address_file.as_deref()).await?;
    Ok(ExitCode::SUCCESS)
}

/// Method, path and headers as they came. Credentials are replaced by their fingerprints.
async fn echo(request: Request) -> Json<Value> {
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in request.headers() {
        let shown = match name.as_str() {
            "authorization" => format!("(fingerprint {})", fingerprint(value.as_bytes())),
            _ => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        };
        headers
            .entry(name.as_str().to_owned())
            .or_default()
            .push(shown);
    }
    let headers: BTreeMap<String, String> = headers
        .into_iter()
        .map(|(name, values)| (name, values.join(", ")))
        .collect();
    Json(json!({
        "method": request.method().as_str(),
        "path": request.uri().path(),
        "headers": headers,
    }))
}

fn fingerprint(authorization: &[u8]) -> Fingerprint {
    let token = authorization
        .iter()
        .position(u8::is_ascii_whitespace)
        .and_then(|at| authorization.get(at..))
        .unwrap_or(authorization);
    Fingerprint::of(token.trim_ascii())
}
