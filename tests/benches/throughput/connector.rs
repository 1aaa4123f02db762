//! The published connector as a service that an edge asks: uvicorn with one
//! worker on core 1, with uvloop and httptools.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use caracal_tests::mint::{AUDIENCE, ISSUER, ZONE};
use caracal_tests::processes::free_address;
use caracal_tests::servers::{Client, Response};
use serde_json::{Value, json};

/// Longest wait for it; its packages may have to be installed first.
const START: Duration = Duration::from_secs(300);
/// Requests that it has answered before anything is measured.
const WARM_UP: usize = 1_000;

/// The exit status of run.py where no Python is new enough.
const NO_PYTHON: i32 = 3;

/// It is stopped by its process id when dropped.
pub struct Connector {
    process: Child,
    pub address: SocketAddr,
}

impl Drop for Connector {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Connector {
    /// Starts it and sends it a good mandate until it is warm. `None` where there
    /// is no Python for it.
    pub fn start(keys: &Value, token: &str) -> Option<Self> {
        let address = free_address();
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let configuration = json!({"issuer": ISSUER, "zone_id": ZONE, "audience": AUDIENCE});
        let process = Command::new("taskset")
            .args(["-c", "1", &python])
            .arg(caracal_tests::root().join("tests/conformance/oracle/run.py"))
            .args(["serve", &address.port().to_string()])
            .args([configuration.to_string(), keys.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("taskset");
        let mut connector = Connector { process, address };
        let since = Instant::now();
        let mut client = loop {
            if let Some(status) = connector.process.try_wait().unwrap() {
                assert_eq!(status.code(), Some(NO_PYTHON), "the connector ended");
                return None;
            }
            if let Ok(client) = Client::try_connect(address) {
                break client;
            }
            assert!(since.elapsed() < START, "the connector does not answer");
            std::thread::sleep(Duration::from_millis(50));
        };
        for _ in 0..WARM_UP {
            let Response { status, body, .. } = client.get("/", Some(token), &[]);
            let said = String::from_utf8_lossy(&body);
            assert_eq!(status, 200, "the connector refuses: {said}");
        }
        Some(connector)
    }
}
