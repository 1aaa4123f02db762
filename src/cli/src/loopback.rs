//! Listens on loopback, unless told otherwise: the development servers sign whatever
//! anybody asks for.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use tokio::net::TcpListener;

/// Binds an address.
pub(crate) async fn bind(address: SocketAddr, allow_remote: bool) -> Result<TcpListener> {
    ensure!(
        allow_remote || address.ip().is_loopback(),
        "--listen {address} is not on loopback, and this server is for development: use 127.0.0.1, or add --allow-remote"
    );
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: is the port taken?"))
}

/// Serves until SIGTERM or Ctrl-C, and answers requests that are under way first. When
/// connections are accepted, writes the address to `address_file`, if any.
pub(crate) async fn serve(
    listener: TcpListener,
    routes: Router,
    address_file: Option<&Path>,
) -> Result<()> {
    let address = listener.local_addr()?;
    let stopped = stopped();
    if let Some(file) = address_file {
        std::fs::write(file, address.to_string())
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    crate::terminal::line(&format!("listening on {address}"));
    axum::serve(listener, routes)
        .with_graceful_shutdown(stopped)
        .await?;
    Ok(())
}

/// Completes when the process is told to stop. It notices from the call on, so that a signal
/// which comes as soon as the server is announced does not kill it.
pub(crate) fn stopped() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    async move {
        let [mut terminate, mut interrupt] = signals;
        let told = async |signal: &mut std::io::Result<tokio::signal::unix::Signal>| match signal {
            Ok(signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        };
        tokio::select! {
            () = told(&mut terminate) => {}
            () = told(&mut interrupt) => {}
        }
    }
}
