//! A server that notes each request with its whole body, whatever frames it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub head: String,
    pub body: Vec<u8>,
}

pub struct Upstream {
    pub address: SocketAddr,
    /// Heads that have come, and whole requests.
    heads: Arc<Mutex<usize>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Upstream {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = Upstream {
            address,
            heads: Arc::default(),
            seen: Arc::default(),
        };
        let (heads, seen) = (Arc::clone(&upstream.heads), Arc::clone(&upstream.seen));
        // It ends with the process.
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (heads, seen) = (Arc::clone(&heads), Arc::clone(&seen));
                std::thread::spawn(move || serve(&connection, &heads, &seen));
            }
        });
        upstream
    }

    /// Heads since this was last asked, and the requests that came whole.
    pub fn taken(&self) -> (usize, Vec<Seen>) {
        let heads = std::mem::take(&mut *self.heads.lock().unwrap());
        (heads, std::mem::take(&mut *self.seen.lock().unwrap()))
    }
}

fn serve(connection: &TcpStream, heads: &Mutex<usize>, seen: &Mutex<Vec<Seen>>) -> Option<()> {
    let mut reader = BufReader::new(connection);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        *heads.lock().unwrap() += 1;
        let head = head.to_ascii_lowercase();
        let value = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(own, _)| *own == name).map(|(_, value)| value)
        };
        let mut body = Vec::new();
        if value("transfer-encoding") == Some("chunked") {
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).ok()?;
                let size = usize::from_str_radix(line.trim(), 16).ok()?;
                let mut chunk = vec![0; size + 2];
                reader.read_exact(&mut chunk).ok()?;
                if size == 0 {
                    break;
                }
                body.extend_from_slice(&chunk[..size]);
            }
        }
        if let Some(size) = value("content-length") {
            body.resize(size.parse().ok()?, 0);
            reader.read_exact(&mut body).ok()?;
        }
        seen.lock().unwrap().push(Seen { head, body });
        let mut writer = connection;
        let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nreached";
        writer.write_all(reply).ok()?;
    }
}
