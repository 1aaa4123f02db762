//! A wire between two processes that can be cut, and that can keep silent.

use super::*;

/// What a wire does with what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Passes it on.
    Pass,
    /// Keeps the connections and passes nothing on: a network that is cut.
    Cut,
    /// Passes everything on but acknowledgements, and nothing after one.
    SwallowAcknowledgements,
}

/// A TCP wire to a server, under the test's control.
pub struct Wire {
    pub address: SocketAddr,
    mode: Arc<AtomicU8>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Wire {
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Wire {
            address: listener.local_addr().unwrap(),
            mode: Arc::new(AtomicU8::new(0)),
            open: Arc::default(),
        };
        let (mode, open) = (Arc::clone(&wire.mode), Arc::clone(&wire.open));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) else {
                    continue;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    open.lock().unwrap().push(from.try_clone().unwrap());
                    let mode = Arc::clone(&mode);
                    std::thread::spawn(move || pass(&from, &to, &mode));
                }
            }
        });
        wire
    }

    /// A change of mode; connections that swallowed something are of no use any
    /// more and end.
    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
        if mode == Mode::Pass {
            for connection in self.open.lock().unwrap().drain(..) {
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
    }
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, mode: &AtomicU8) {
    let mut buffer = vec![0; 64 * 1024];
    let mut dumb = false;
    while let Ok(size) = from.read(&mut buffer) {
        if size == 0 {
            break;
        }
        let bytes = &buffer[..size];
        let mode = mode.load(Ordering::SeqCst);
        let acknowledges = bytes.windows(4).any(|word| word == b"XACK");
        dumb |= mode == Mode::Cut as u8;
        dumb |= mode == Mode::SwallowAcknowledgements as u8 && acknowledges;
        if !dumb && to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
