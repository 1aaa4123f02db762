//! An upstream whose answers do not end: an event stream that falls silent, a WebSocket, an
//! upload that it reads for ever.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Seen {
    /// Connections with an answer that has not ended.
    open: Vec<TcpStream>,
    closed: usize,
    got: Vec<u8>,
}

pub struct Upstream {
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Upstream {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let noted = Arc::clone(&seen);
        // It ends with the process.
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let noted = Arc::clone(&noted);
                std::thread::spawn(move || serve(connection, &noted));
            }
        });
        Upstream { address, seen }
    }

    /// Answers that have not ended.
    pub fn open(&self) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.open.len() - seen.closed
    }

    /// What was uploaded.
    pub fn got(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap().got).into_owned()
    }

    /// Sends bytes to all that are open. `false` if none takes them.
    pub fn send(&self, bytes: &[u8]) -> bool {
        let mut all = self.seen.lock().unwrap();
        let sent = all.open.iter_mut().map(|one| one.write_all(bytes).is_ok());
        sent.fold(false, |any, one| any | one)
    }

    /// Sends one more chunk to all that are open.
    pub fn say(&self, text: &str) {
        for mut connection in &self.seen.lock().unwrap().open {
            let _ = write!(connection, "{:x}\r\n{text}\r\n", text.len());
        }
    }
}

fn serve(mut connection: TcpStream, seen: &Mutex<Seen>) {
    let mut got = Vec::new();
    let mut part = [0; 4_096];
    loop {
        while !got.windows(4).any(|four| four == b"\r\n\r\n") {
            match connection.read(&mut part) {
                Ok(0) | Err(_) => return,
                Ok(read) => got.extend_from_slice(&part[..read]),
            }
        }
        if !got.starts_with(b"GET /once") {
            break;
        }
        got.clear();
        let once = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        if connection.write_all(once).is_err() {
            return;
        }
    }
    let first: &[u8] = match got.split(|b| *b == b' ').nth(1) {
        Some(b"/events") => {
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"
        }
        Some(b"/socket") => {
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"
        }
        // A message of three bytes, of 80 that are promised.
        Some(b"/web") => {
            b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc-web\r\ncontent-length: 80\r\n\r\n\0\0\0\0\x03one"
        }
        _ => b"",
    };
    connection.write_all(first).unwrap();
    let again = connection.try_clone().unwrap();
    {
        let mut seen = seen.lock().unwrap();
        seen.open.push(again);
        seen.got.extend_from_slice(&got);
    }
    while let Ok(read @ 1..) = connection.read(&mut part) {
        seen.lock().unwrap().got.extend_from_slice(&part[..read]);
    }
    seen.lock().unwrap().closed += 1;
}
