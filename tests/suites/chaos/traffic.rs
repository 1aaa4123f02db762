//! What goes on while faults happen: revocations, and requests.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use caracal_tests::edge::Around;
use caracal_tests::servers::{Client, request};

use super::model::{Model, sid};
use super::random::Random;

/// From one revocation to the next.
const REVOKE_EVERY: Duration = Duration::from_millis(250);
/// Connections of those who ask, for each edge.
const CONNECTIONS: usize = 3;

/// Where the edges are now.
pub(super) type Edges = Arc<Mutex<Vec<SocketAddr>>>;

/// Revokes one session after the other, wherever a server takes it. In a split that
/// may be one that will not stay.
pub(super) fn revoke(
    servers: Vec<SocketAddr>,
    around: &Around,
    model: &Model,
    stop: &AtomicBool,
    random: &mut Random,
) {
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        number += 1;
        model.add(number, around.of_session(&sid(number)));
        // It is admitted for a while first.
        std::thread::sleep(REVOKE_EVERY);
        let first = random.index(servers.len());
        for n in 0..servers.len() {
            if let Some(id) = add(servers[(first + n) % servers.len()], &sid(number)) {
                model.acknowledged(number, id);
                break;
            }
        }
    }
}

fn add(server: SocketAddr, sid: &str) -> Option<String> {
    let client = redis::Client::open(format!("redis://{server}")).ok()?;
    let soon = Duration::from_millis(500);
    let mut connection = client.get_connection_with_timeout(soon).ok()?;
    connection.set_read_timeout(Some(soon)).ok()?;
    redis::cmd("XADD")
        .arg(&[
            "caracal.sessions.revoke",
            "MAXLEN",
            "~",
            "100000",
            "*",
            "session_id",
            sid,
        ])
        .query(&mut connection)
        .ok()
}

/// Asks one edge for every watched session, again and again.
pub(super) fn ask(edge: usize, edges: &Edges, model: &Model, stop: &AtomicBool) {
    let mut at = edges.lock().unwrap()[edge];
    let mut clients: Vec<Option<Client>> = (0..CONNECTIONS).map(|_| None).collect();
    let mut turn = 0;
    while !stop.load(Ordering::SeqCst) {
        let now = edges.lock().unwrap()[edge];
        if now != at {
            at = now;
            clients.fill_with(|| None);
        }
        for (number, session) in model.watched() {
            turn = (turn + 1) % CONNECTIONS;
            let client = &mut clients[turn];
            if client.is_none() {
                *client = Client::try_connect(at).ok();
            }
            let bearer = format!("Bearer {}", session.token);
            let bytes = request("GET", "/", &[("authorization", &bearer)]);
            let sent = Instant::now();
            match client.as_mut().map(|client| client.exchange(&bytes)) {
                Some(Ok(answer)) => model.answered(number, edge, sent, answer.status),
                _ => *client = None,
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
