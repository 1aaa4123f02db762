//! Serves the companion's API. Every connection has deadlines, their number is limited,
//! and a flood of half-open connections does not keep out probes and filters.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use caracal_feed::edges::Peer;
use caracal_feed::redis::health::Limited;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tower::ServiceExt as _;

use crate::tls::Tls;

/// Most connections at once.
const MAX_CONNECTIONS: usize = 1_024;
/// Time for the first request's head, including the TLS handshake before it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a connection to read an answer and begin the next request. It is longer than
/// proxies keep an idle connection. Otherwise they would use connections that have just
/// closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Time for a request: the longest wait for new revocations (30 s), and as long again for
/// a body that arrives slowly.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for requests that are under way at the end.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a connection could not be accepted because there were no file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Largest head of a request, and the largest part of an answer that waits to be read.
const BUFFER_BYTES: usize = 64 * 1024;

/// The state of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No complete request has arrived yet.
    New,
    /// A request is being answered.
    Serving,
    /// Between two requests.
    Idle,
}

impl Phase {
    fn limit(self) -> Duration {
        match self {
            Phase::New => HEAD_TIMEOUT,
            Phase::Serving => REQUEST_TIMEOUT,
            Phase::Idle => IDLE_TIMEOUT,
        }
    }
}

struct Entry {
    phase: watch::Receiver<Phase>,
    evicted: Arc<Notify>,
}

/// The current connections, the oldest first.
#[derive(Default)]
struct Connections {
    inner: Mutex<(u64, BTreeMap<u64, Entry>)>,
}

/// A connection's place in the list, for as long as this value lives.
struct Place {
    connections: Arc<Connections>,
    number: u64,
    phase: watch::Sender<Phase>,
    evicted: Arc<Notify>,
    opened: Instant,
    /// Who has it.
    peer: Peer,
}

impl Connections {
    /// A place for a new connection. If all places are taken, the oldest connection
    /// without a complete request is closed, or else the oldest idle one. If there is
    /// neither, there is no place.
    fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.1.len() >= MAX_CONNECTIONS {
            let oldest = |phase| {
                let mut entries = inner.1.iter();
                let found = entries.find(|(_, entry)| *entry.phase.borrow() == phase);
                found.map(|(number, _)| *number)
            };
            let leaves = oldest(Phase::New).or_else(|| oldest(Phase::Idle))?;
            inner.1.remove(&leaves)?.evicted.notify_one();
        }
        let number = inner.0;
        inner.0 = number.saturating_add(1);
        let (phase, receiver) = watch::channel(Phase::New);
        let evicted = Arc::new(Notify::new());
        let entry = Entry {
            phase: receiver,
            evicted: Arc::clone(&evicted),
        };
        inner.1.insert(number, entry);
        Some(Place {
            connections: Arc::clone(self),
            number,
            phase,
            evicted,
            opened: Instant::now(),
            peer: Peer(address.to_canonical()),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let connections = &self.connections.inner;
        let mut inner = connections.lock().unwrap_or_else(PoisonError::into_inner);
        inner.1.remove(&self.number);
    }
}

/// Raises this process's number of file descriptors to the allowed maximum.
pub(crate) fn raise_descriptors() {
    let most = rlimit::Resource::NOFILE.get_hard();
    let raised = most.and_then(|most| rlimit::increase_nofile_limit(most).map(|now| (now, most)));
    match raised {
        Ok((now, _)) if now < 2_048 => tracing::warn!(
            descriptors = now,
            "few file descriptors are allowed (ulimit -Hn): many connections at once will wait"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of file descriptors cannot be raised"),
    }
}

/// Serves until `end` completes, and answers requests that are under way first. When
/// connections are accepted, writes the address to `address_file`, if any.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    routes: Router,
    address_file: Option<&Path>,
    end: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let address = listener.local_addr()?;
    if let Some(file) = address_file {
        std::fs::write(file, address.to_string())
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    crate::terminal::line(&format!("listening on {address}"));
    let connections = Arc::new(Connections::default());
    let (ending, ended) = watch::channel(false);
    // Closed when the last connection has dropped its end.
    let (alive, mut all_gone) = mpsc::channel::<()>(1);
    let (full, failing) = (Limited::new(), Limited::new());
    let unread = Arc::new(Limited::new());
    tokio::pin!(end);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut end => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(count) = failing.tell() {
                    tracing::error!(count, %error, "connections cannot be accepted");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = connections.admit(address.ip()) else {
            if let Some(count) = full.tell() {
                tracing::warn!(count, "connections refused: {MAX_CONNECTIONS} are busy");
            }
            continue;
        };
        let (routes, ended, alive) = (routes.clone(), ended.clone(), alive.clone());
        let (tls, unread) = (tls.clone(), Arc::clone(&unread));
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            match tls {
                Some(tls) => encrypted(stream, &tls, &unread, routes, &place, ended).await,
                None => exchange(stream, routes, &place, ended).await,
            }
            drop(alive);
        });
    }
    drop(listener);
    drop(alive);
    let _ = ending.send(true);
    if tokio::time::timeout(END_TIMEOUT, all_gone.recv())
        .await
        .is_err()
    {
        tracing::warn!("connections that did not end in time are cut off");
    }
    Ok(())
}

/// The same after a TLS handshake, which counts as part of the first head.
async fn encrypted(
    stream: TcpStream,
    tls: &Tls,
    unread: &Limited,
    routes: Router,
    place: &Place,
    mut ended: watch::Receiver<bool>,
) {
    let shaken = tokio::select! {
        shaken = tls.acceptor().accept(stream) => shaken,
        () = tokio::time::sleep(HEAD_TIMEOUT) => return,
        () = place.evicted.notified() => return,
        _ = ended.wait_for(|ended| *ended) => return,
    };
    match shaken {
        Ok(stream) => exchange(stream, routes, place, ended).await,
        Err(error) => {
            if let Some(count) = unread.tell() {
                tracing::warn!(count, %error, "TLS handshakes failed");
            }
        }
    }
}

/// Serves one connection until it ends, is idle for too long, or must close.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    routes: Router,
    place: &Place,
    mut ended: watch::Receiver<bool>,
) {
    let phase = &place.phase;
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(place.peer);
        phase.send_replace(Phase::Serving);
        let answer = routes.clone().oneshot(request.map(Body::new));
        async move {
            let answer = answer.await;
            phase.send_replace(Phase::Idle);
            answer
        }
    });
    let connection = http1::Builder::new()
        // It would count idle time too. The deadlines here distinguish the two.
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut phases = phase.subscribe();
    let mut ending = false;
    loop {
        let now = *phases.borrow_and_update();
        // At the end, only requests that are under way are waited for.
        if ending && now != Phase::Serving {
            connection.as_mut().graceful_shutdown();
        }
        let limit = match ending {
            true if now != Phase::Serving => Duration::from_secs(1),
            _ if now == Phase::New => HEAD_TIMEOUT.saturating_sub(place.opened.elapsed()),
            _ => now.limit(),
        };
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = phases.changed() => {}
            () = tokio::time::sleep(limit) => return,
            () = place.evicted.notified() => return,
            _ = ended.wait_for(|ended| *ended), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
