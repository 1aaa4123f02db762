//! The bound that the product promises: a mandate is not admitted any more once
//! `max_staleness_s` have gone by since its revocation was acknowledged.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::servers::{Client, request};

/// What measuring may take besides: a request on its way, and a test that was
/// not scheduled between an acknowledgement and the reading of the clock.
pub const SLACK: Duration = Duration::from_millis(500);
/// Connections; Envoy spreads them over its workers.
const CONNECTIONS: usize = 6;

/// Sends one mandate all the time, and knows when it was last admitted.
pub struct Bound {
    stop: Arc<AtomicBool>,
    /// When the last admitted request was sent.
    admitted: Arc<Mutex<Option<Instant>>>,
    answered: Arc<Mutex<Option<Instant>>>,
    thread: Option<JoinHandle<()>>,
}

impl Bound {
    pub fn start(edge: SocketAddr, token: &str) -> Self {
        let bearer = format!("Bearer {token}");
        let bytes = request("GET", "/", &[("authorization", &bearer)]);
        let mut bound = Bound {
            stop: Arc::default(),
            admitted: Arc::default(),
            answered: Arc::default(),
            thread: None,
        };
        let (stop, admitted) = (Arc::clone(&bound.stop), Arc::clone(&bound.admitted));
        let answered = Arc::clone(&bound.answered);
        let thread = std::thread::spawn(move || {
            let mut clients: Vec<Option<Client>> = (0..CONNECTIONS).map(|_| None).collect();
            while !stop.load(Ordering::SeqCst) {
                for client in &mut clients {
                    if client.is_none() {
                        *client = Client::try_connect(edge).ok();
                    }
                    // From when it is sent: an answer that was decided in time may
                    // be late.
                    let sent = Instant::now();
                    match client.as_mut().map(|client| client.exchange(&bytes)) {
                        Some(Ok(answer)) => {
                            *answered.lock().unwrap() = Some(sent);
                            if answer.status < 400 {
                                *admitted.lock().unwrap() = Some(sent);
                            }
                        }
                        _ => *client = None,
                    }
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        bound.thread = Some(thread);
        bound
    }

    pub fn last_admitted(&self) -> Option<Instant> {
        *self.admitted.lock().unwrap()
    }

    pub fn last_answered(&self) -> Option<Instant> {
        *self.answered.lock().unwrap()
    }

    /// How much later than `acknowledged` it was last admitted.
    pub fn late(&self, acknowledged: Instant) -> Duration {
        self.last_admitted().map_or(Duration::ZERO, |at| {
            at.saturating_duration_since(acknowledged)
        })
    }

    /// Watches until the bound has long passed, and fails if it did not hold.
    #[track_caller]
    pub fn holds(&self, acknowledged: Instant, staleness: Duration) {
        let limit = staleness + SLACK;
        while acknowledged.elapsed() < limit + Duration::from_secs(2) {
            self.check(acknowledged, limit);
            std::thread::sleep(Duration::from_millis(50));
        }
        let answered = self.last_answered().map(|at| at > acknowledged + limit);
        assert_eq!(answered, Some(true), "nothing was asked beyond the bound");
    }

    #[track_caller]
    fn check(&self, acknowledged: Instant, limit: Duration) {
        let late = self.late(acknowledged);
        assert!(
            late <= limit,
            "a revoked mandate was admitted {late:?} after its revocation was acknowledged; at most {limit:?}"
        );
    }

    /// Ends it. Fails if it was ever admitted beyond the bound.
    #[track_caller]
    pub fn held(mut self, acknowledged: Instant, staleness: Duration) -> Duration {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        self.check(acknowledged, staleness + SLACK);
        self.late(acknowledged)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
