//! The request that a test describes, up to the moment when the proxy accepts it
//! (`streams.rs`).

use crate::host::Headers;

/// A request for [`crate::host::Proxy::request`], built up call by call.
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) headers: Headers,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) trailers: Option<Headers>,
    pub(crate) open: bool,
    pub(crate) listener: usize,
    pub(crate) properties: Vec<(String, Vec<u8>)>,
}

impl Request {
    /// A request with a method and a path, exactly as given.
    pub fn new(method: impl AsRef<[u8]>, path: impl AsRef<[u8]>) -> Self {
        let mut headers = Headers::new();
        headers.add(":authority", "edge.test");
        headers.add(":path", path);
        headers.add(":method", method);
        headers.add(":scheme", "https");
        Self {
            headers,
            body: None,
            trailers: None,
            open: false,
            listener: 0,
            properties: Vec::new(),
        }
    }

    /// `GET` without a body.
    pub fn get(path: impl AsRef<[u8]>) -> Self {
        Self::new("GET", path)
    }

    /// `POST` with a body.
    pub fn post(path: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Self {
        Self::new("POST", path).body(body)
    }

    /// Adds a header of any bytes. The proxy may join it with another one of the same
    /// name.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// `Authorization: Bearer <token>`.
    pub fn bearer(self, token: impl AsRef<str>) -> Self {
        self.header("authorization", format!("Bearer {}", token.as_ref()))
    }

    /// Another `:authority`.
    pub fn authority(mut self, authority: impl AsRef<[u8]>) -> Self {
        self.headers.set(":authority", authority);
        self
    }

    /// Leaves out a header, such as `:path` for `CONNECT`.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// The body, in one piece.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    /// Trailers after the body.
    pub fn trailers(mut self, trailers: impl Into<Headers>) -> Self {
        self.trailers = Some(trailers.into());
        self
    }

    /// The request stays open: [`crate::host::Proxy::send_body`] sends more of its body.
    pub fn open(mut self) -> Self {
        self.open = true;
        self
    }

    /// The listener that gets it, in the order of the builder; 0 by default.
    pub fn listener(mut self, index: usize) -> Self {
        self.listener = index;
        self
    }

    /// A property of the request that the host knows, such as `source.address`.
    pub fn property(mut self, path: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref().to_vec();
        self.properties.push((path.to_owned(), value));
        self
    }
}
