//! HTTP/2 without TLS: a client that keeps many streams of one connection open and sees how
//! each ends, and a server whose streams stay open.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use http::{Method, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const DEADLINE: Duration = Duration::from_secs(60);

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

/// How a response ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With its last byte, or its trailers.
    Complete,
    /// With the error code of a reset.
    Reset(u32),
    /// With its connection.
    Lost,
}

#[derive(Debug)]
enum Event {
    Began(u16),
    Data(Bytes),
    Ended(End, Instant),
}

/// A connection.
pub struct Http2 {
    send: SendRequest<Bytes>,
}

/// An open stream.
pub struct Opened {
    events: Receiver<Event>,
    say: UnboundedSender<Bytes>,
}

impl Http2 {
    pub fn connect(address: SocketAddr) -> Self {
        let send = runtime().block_on(async {
            let connection = TcpStream::connect(address).await.unwrap();
            let (send, driver) = h2::client::handshake(connection).await.unwrap();
            tokio::spawn(async move {
                let _ = driver.await;
            });
            send.ready().await.unwrap()
        });
        Http2 { send }
    }

    /// Opens a stream whose request stays open if `is_open`.
    pub fn open(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        is_open: bool,
    ) -> Opened {
        let request = Request::builder().method(method);
        self.send(request, path, headers, is_open)
    }

    /// A WebSocket (RFC 8441).
    pub fn socket(&mut self, path: &str, headers: &[(&str, &str)]) -> Opened {
        let version = [("sec-websocket-version", "13")];
        self.connected("websocket", path, &[&version, headers].concat())
    }

    /// Another protocol by an extended CONNECT.
    pub fn connected(
        &mut self,
        protocol: &'static str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Opened {
        let since = Instant::now();
        while !self.send.is_extended_connect_protocol_enabled() {
            assert!(
                since.elapsed() < DEADLINE,
                "the server takes no extended CONNECT"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        let request = Request::builder()
            .method(Method::CONNECT)
            .extension(Protocol::from_static(protocol));
        self.send(request, path, headers, true)
    }

    fn send(
        &mut self,
        mut request: http::request::Builder,
        path: &str,
        headers: &[(&str, &str)],
        is_open: bool,
    ) -> Opened {
        request = request.uri(format!("http://edge{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let (tell, events) = channel();
        let (say, said) = unbounded_channel();
        let mut send = self.send.clone();
        runtime().block_on(async {
            send = send.ready().await.unwrap();
            let (response, body) = send.send_request(request, !is_open).unwrap();
            tokio::spawn(async move {
                let end = follow(response, &tell).await;
                let _ = tell.send(Event::Ended(end, Instant::now()));
            });
            tokio::spawn(speak(said, body));
        });
        Opened { events, say }
    }
}

async fn speak(mut said: UnboundedReceiver<Bytes>, mut body: h2::SendStream<Bytes>) {
    while let Some(bytes) = said.recv().await {
        if body.send_data(bytes, false).is_err() {
            return;
        }
    }
}

async fn follow(response: h2::client::ResponseFuture, tell: &Sender<Event>) -> End {
    let response = match response.await {
        Ok(response) => response,
        Err(error) => return ended(&error),
    };
    let _ = tell.send(Event::Began(response.status().as_u16()));
    let mut body = response.into_body();
    while let Some(part) = body.data().await {
        match part {
            Ok(bytes) => {
                let _ = body.flow_control().release_capacity(bytes.len());
                let _ = tell.send(Event::Data(bytes));
            }
            Err(error) => return ended(&error),
        }
    }
    match body.trailers().await {
        Ok(_) => End::Complete,
        Err(error) => ended(&error),
    }
}

fn ended(error: &h2::Error) -> End {
    match error.reason() {
        Some(reason) if error.is_reset() => End::Reset(reason.into()),
        _ => End::Lost,
    }
}

impl Opened {
    fn next(&self) -> Event {
        self.events.recv_timeout(DEADLINE).expect("an event")
    }

    /// The status of the response, once it has begun.
    #[track_caller]
    pub fn began(&self) -> u16 {
        match self.next() {
            Event::Began(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// Reads until the text is there.
    #[track_caller]
    pub fn until(&self, text: &str) {
        let mut got = Vec::new();
        while !String::from_utf8_lossy(&got).contains(text) {
            match self.next() {
                Event::Began(_) => {}
                Event::Data(bytes) => got.extend_from_slice(&bytes),
                other => panic!("{other:?}"),
            }
        }
    }

    pub fn say(&self, bytes: &'static [u8]) {
        let _ = self.say.send(Bytes::from_static(bytes));
    }

    /// Waits for the end: how and when, the status if the response began only now, and what
    /// came until then.
    pub fn end(self) -> (End, Instant, Option<u16>, Vec<u8>) {
        let (mut status, mut got) = (None, Vec::new());
        loop {
            match self.next() {
                Event::Began(began) => status = Some(began),
                Event::Data(bytes) => got.extend_from_slice(&bytes),
                Event::Ended(end, at) => return (end, at, status, got),
            }
        }
    }

    /// Whether it is still open.
    pub fn is_open(&self) -> bool {
        !self
            .events
            .try_iter()
            .any(|event| matches!(event, Event::Ended(..)))
    }
}

/// A server whose responses begin, with a first message if there is one, and do not end.
pub fn silent_server(content_type: &'static str, first: &'static [u8]) -> SocketAddr {
    let listener = runtime()
        .block_on(TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let address = listener.local_addr().unwrap();
    runtime().spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut open = Vec::new();
                let mut server = h2::server::handshake(connection).await.unwrap();
                while let Some(Ok((request, mut respond))) = server.accept().await {
                    let response = Response::builder().header("content-type", content_type);
                    let response = response.body(()).unwrap();
                    if let Ok(mut body) = respond.send_response(response, false) {
                        let _ = body.send_data(Bytes::from_static(first), false);
                        open.push((request, body));
                    }
                }
            });
        }
    });
    address
}
