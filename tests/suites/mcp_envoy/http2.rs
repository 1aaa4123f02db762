//! The least of an HTTP/2 client (RFC 9113), which sends exactly the frames that a test
//! says: a library would add a `content-length`, or refuse what is odd.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// One request on a connection of its own.
pub struct Http2(TcpStream);

impl Http2 {
    /// Sends the headers. Pseudo headers are among them.
    pub fn request(address: SocketAddr, headers: &[(&str, &str)], ends: bool) -> Self {
        let connection = TcpStream::connect(address).unwrap();
        let patience = Some(Duration::from_secs(20));
        connection.set_read_timeout(patience).unwrap();
        let mut own = Http2(connection);
        own.0
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        own.frame(SETTINGS, 0, 0, &[]);
        own.headers(headers, ends);
        own
    }

    pub fn data(&mut self, bytes: &[u8], ends: bool) {
        self.frame(DATA, if ends { END_STREAM } else { 0 }, 1, bytes);
    }

    /// Headers, or trailers after a body.
    pub fn headers(&mut self, headers: &[(&str, &str)], ends: bool) {
        let mut block = Vec::new();
        for (name, value) in headers {
            // A literal without indexing (RFC 7541 section 6.2.2), without Huffman.
            block.push(0);
            for text in [name, value] {
                number(&mut block, text.len());
                block.extend_from_slice(text.as_bytes());
            }
        }
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        self.frame(HEADERS, flags, 1, &block);
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        // Envoy may have answered and closed already.
        let _ = self.0.write_all(&frame);
    }

    /// The body of the answer; none if the stream was reset.
    pub fn answer(mut self) -> Option<String> {
        let mut body = Vec::new();
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).ok()?;
            let size = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; size];
            self.0.read_exact(&mut payload).ok()?;
            let (kind, flags, stream) = (head[3], head[4], head[8]);
            if kind == SETTINGS && flags == 0 {
                self.frame(SETTINGS, 1, 0, &[]);
            }
            if stream != 1 {
                continue;
            }
            match kind {
                RST_STREAM => return None,
                DATA => body.extend(payload),
                _ => {}
            }
            if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                return Some(String::from_utf8(body).unwrap());
            }
        }
    }
}

/// A length with a prefix of 7 bits (RFC 7541 section 5.1).
fn number(to: &mut Vec<u8>, n: usize) {
    if n < 127 {
        return to.push(n as u8);
    }
    to.push(127);
    let mut rest = n - 127;
    while rest >= 128 {
        to.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    to.push(rest as u8);
}
