//! A filter lets a message go on that it held: what Envoy then sends, and what is a
//! violation.

use crate::host::streams::{Held, Way};
use crate::host::{Forwarded, Proxy, Wrong};

impl Proxy {
    /// The filter lets a held message go on.
    pub(crate) fn resume(&mut self, stream: usize, way: Way) {
        let s = self.state(stream);
        s.resume_queued = false;
        if s.end.is_some() {
            // Resumed after its own reply, in one callback: Envoy sends the
            // request on although the client has its answer.
            if s.local && way == Way::Request && s.upstream.is_none() {
                let headers = s.request.headers.clone();
                s.upstream = Some(Forwarded {
                    headers,
                    complete: s.request.ended,
                    ..Forwarded::default()
                });
            }
            return;
        }
        match s.half(way).held {
            Held::No => {
                self.violate(stream, Wrong::ResumedRunning, "proxy_continue_stream");
            }
            Held::Headers => {
                self.pass_headers(stream, way);
                self.pump(stream, way);
            }
            Held::Body => {
                let half = s.half(way);
                let last = half.ended && half.queue.is_empty();
                self.pass_body(stream, way);
                if last {
                    self.pass_end(stream, way);
                }
                self.pump(stream, way);
            }
            Held::Trailers => {
                self.pass_body(stream, way);
                self.pass_end(stream, way);
            }
        }
    }
}
