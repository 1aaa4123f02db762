//! HTTP/1.1 on loopback, byte by byte: a server that answers what a test says,
//! and a client that sends exactly the bytes it is given. A library would mend
//! the malformed requests that the suites are about.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

/// Longest a read or a write on either side may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// A request as it reached a server.
#[derive(Debug, Clone)]
pub struct Incoming {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Incoming {
    /// Every value of a header, names in lower case.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(n, _)| n == name);
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// What a server answers.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub delay: Duration,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Reply {
            status,
            headers: Vec::new(),
            body: body.into(),
            delay: Duration::ZERO,
        }
    }

    pub fn json(body: &Value) -> Self {
        Reply::new(200, body.to_string())
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// What a server holds while it lives.
struct Shared {
    handler: Box<dyn Fn(&Incoming) -> Reply + Send + Sync>,
    stopped: AtomicBool,
    requests: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

/// A server on its own threads; it ends when dropped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(handler: impl Fn(&Incoming) -> Reply + Send + Sync + 'static) -> Self {
        Server::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), handler)
    }

    /// Starts where another stopped.
    pub fn start_on(
        address: SocketAddr,
        handler: impl Fn(&Incoming) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            stopped: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            open: Mutex::new(Vec::new()),
        });
        let server = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if server.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(connection) = connection else { continue };
                let Ok(handle) = connection.try_clone() else {
                    continue;
                };
                server.open.lock().unwrap().push(handle);
                let server = Arc::clone(&server);
                std::thread::spawn(move || drop(serve(&server, &connection)));
            }
        });
        Server {
            address,
            shared,
            accepting: Some(accepting),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests so far.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.open.lock().unwrap().len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for connection in self.shared.open.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn serve(shared: &Shared, connection: &TcpStream) -> io::Result<()> {
    connection.set_nodelay(true)?;
    connection.set_write_timeout(Some(DEADLINE))?;
    let mut reader = BufReader::new(connection);
    let mut writer = connection;
    while let Some(head) = read_head(&mut reader)? {
        let mut words = head.first.split(' ');
        let mut request = Incoming {
            method: words.next().unwrap_or_default().to_owned(),
            target: words.next().unwrap_or_default().to_owned(),
            headers: head.headers,
            body: Vec::new(),
        };
        let size = request.all("content-length");
        let size = size.first().map_or(0, |n| n.parse().unwrap());
        request.body = vec![0; size];
        reader.read_exact(&mut request.body)?;
        shared.requests.fetch_add(1, Ordering::SeqCst);
        let reply = (shared.handler)(&request);
        std::thread::sleep(reply.delay);
        let mut bytes = format!(
            "HTTP/1.1 {} x\r\ncontent-length: {}\r\n",
            reply.status,
            reply.body.len()
        );
        for (name, value) in &reply.headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        bytes.push_str("\r\n");
        writer.write_all(&[bytes.as_bytes(), &reply.body].concat())?;
    }
    Ok(())
}

struct Head {
    first: String,
    headers: Vec<(String, String)>,
}

/// The first line and the headers; none at the end of the connection.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let mut lines = lines.into_iter();
    let first = lines.next().unwrap_or_default();
    let headers = lines
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect();
    Ok(Some(Head { first, headers }))
}

/// A response as the client got it.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(n, _)| n == name);
        named.next().map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The `error` of a refusal's body.
    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }
}

/// A client's connection, kept open between requests.
pub struct Client {
    connection: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Client::try_connect(address).unwrap()
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let connection = TcpStream::connect_timeout(&address, DEADLINE)?;
        connection.set_read_timeout(Some(DEADLINE))?;
        connection.set_write_timeout(Some(DEADLINE))?;
        connection.set_nodelay(true)?;
        Ok(Client {
            connection: BufReader::new(connection),
        })
    }

    /// Sends bytes as they are and reads one response.
    pub fn exchange(&mut self, bytes: &[u8]) -> io::Result<Response> {
        self.connection.get_mut().write_all(bytes)?;
        let head = read_head(&mut self.connection)?
            .ok_or_else(|| io::Error::other("closed without an answer"))?;
        let status = head.first.split(' ').nth(1).and_then(|s| s.parse().ok());
        let mut response = Response {
            status: status.ok_or_else(|| io::Error::other("no status"))?,
            headers: head.headers,
            body: Vec::new(),
        };
        let size = response.header("content-length").map(str::parse::<usize>);
        // A HEAD's answer and one without a length have no body here.
        if bytes.starts_with(b"HEAD ") {
            return Ok(response);
        }
        if let Some(Ok(size)) = size {
            response.body = vec![0; size];
            self.connection.read_exact(&mut response.body)?;
        }
        if response.header("transfer-encoding") == Some("chunked") {
            response.body = self.chunks()?;
        }
        Ok(response)
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            self.connection.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            let mut chunk = vec![0; size + 2];
            self.connection.read_exact(&mut chunk)?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    /// A GET with a bearer token, and other headers.
    pub fn get(&mut self, path: &str, token: Option<&str>, headers: &[(&str, &str)]) -> Response {
        let mut all = headers.to_vec();
        let bearer = token.map(|token| format!("Bearer {token}"));
        if let Some(bearer) = &bearer {
            all.push(("authorization", bearer));
        }
        self.exchange(&request("GET", path, &all)).unwrap()
    }
}

/// The bytes of a request without a body, to `edge.test` unless a header says otherwise.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\n");
    if headers.iter().all(|(name, _)| *name != "host") {
        bytes.push_str("host: edge.test\r\n");
    }
    for (name, value) in headers {
        bytes.push_str(&format!("{name}: {value}\r\n"));
    }
    bytes.push_str("\r\n");
    bytes.into_bytes()
}

/// One GET on a connection of its own.
pub fn get(address: SocketAddr, path: &str, token: Option<&str>) -> Response {
    Client::connect(address).get(path, token, &[])
}
