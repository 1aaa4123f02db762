//! How a stream ends: with the filter's reply, a trap, a cut connection, or completely.
//! This module has the filter's own replies and their form on the wire, and the last
//! callbacks of a stream. What comes before is in `flow.rs`.

use crate::host::streams::{End, Held, grpc_status_of};
use crate::host::vm::LocalReply;
use crate::host::{Headers, Proxy, Reply, Wrong};

impl Proxy {
    /// The filter's own reply goes to the client.
    pub(crate) fn local_reply(&mut self, stream: usize, mut reply: LocalReply) {
        let flow = self.world().profile.flow;
        let s = self.state(stream);
        if s.end.is_some() {
            return;
        }
        if !flow.cuts && (s.client.is_some() || s.response.begun) {
            s.reply_queued = false;
            return self.violate(stream, Wrong::ReplyIgnored, "proxy_send_local_response");
        }
        if self.bypass_reply(stream) {
            return;
        }
        let s = self.state(stream);
        if reply.body.is_empty() && !flow.empty_body.is_empty() {
            reply.body = flow.empty_body.into();
            reply.headers.set("content-type", "text/html");
        }
        s.details = reply.details.clone();
        if s.client.is_some() {
            return self.finish(stream, End::Cut);
        }
        s.local = true;
        s.request.held = Held::No;
        s.request.queue.clear();
        let (headers, body) = if flow.grpc && s.is_grpc() {
            let code = reply.grpc_status.unwrap_or(grpc_status_of(reply.status));
            s.grpc_status = Some(code);
            (grpc_headers(code, &reply), Vec::new())
        } else {
            let headers = plain_headers(&reply);
            let head = s.request.headers.get(":method") == Some(b"HEAD");
            (headers, if head { Vec::new() } else { reply.body })
        };
        self.begin_response(stream, headers, Some(body), true);
    }

    /// The VM of a stream is dead. The client gets a 503, or the response that it is
    /// getting ends.
    pub(crate) fn trapped(&mut self, stream: usize) {
        let flow = self.world().profile.flow;
        let s = self.state(stream);
        if s.end.is_some() {
            return;
        }
        s.details = flow.trap_details.to_owned();
        if s.client.is_some() {
            return self.finish(stream, End::Cut);
        }
        let grpc_status = (flow.grpc && s.is_grpc()).then_some(14);
        s.client = Some(Reply {
            status: grpc_status.map_or(flow.trap_status, |_| 200),
            headers: Headers::new(),
            body: Vec::new(),
            grpc_status,
            details: String::new(),
            reason: String::new(),
        });
        self.finish(stream, End::Trapped);
    }

    /// A stream has ended: the access log is written, and then its context is deleted.
    pub(crate) fn finish(&mut self, stream: usize, end: End) {
        let now = self.world().clock.now;
        let s = self.state(stream);
        if s.end.is_some() {
            return;
        }
        s.end = Some(end);
        s.ended_at = now;
        for half in [&mut s.request, &mut s.response] {
            half.held = Held::No;
            half.headers_open = false;
            half.body_open = false;
            half.trailers_open = false;
            half.queue.clear();
        }
        self.log_and_delete(stream);
    }

    fn log_and_delete(&mut self, stream: usize) {
        self.state(stream).logging = true;
        self.callback(stream, "proxy_on_log", &[]);
        self.state(stream).logging = false;
        self.callback(stream, "proxy_on_done", &[]);
        self.callback(stream, "proxy_on_delete", &[]);
        let s = self.state(stream);
        let (vm, context, generation) = (s.vm, s.context, s.generation);
        if let Some(instance) = self.vms.get_mut(&vm) {
            let data = instance.store.data_mut();
            if data.generation == generation {
                data.contexts.remove(&context);
            }
        }
    }
}

fn plain_headers(reply: &LocalReply) -> Headers {
    let mut headers = Headers::from([(":status", reply.status.to_string())]);
    for (name, value) in reply.headers.iter() {
        headers.add(name, value);
    }
    if !reply.body.is_empty() {
        headers.set("content-length", reply.body.len().to_string());
        if !headers.has("content-type") {
            headers.add("content-type", "text/plain");
        }
    }
    headers
}

/// Trailers only. The body becomes the message, percent-encoded.
fn grpc_headers(code: u32, reply: &LocalReply) -> Headers {
    let mut headers = Headers::from([(":status", "200")]);
    for (name, value) in reply.headers.iter() {
        headers.add(name, value);
    }
    headers.set("content-type", "application/grpc");
    headers.add("grpc-status", code.to_string());
    if !reply.body.is_empty() {
        let mut message = String::new();
        for &b in &reply.body {
            match b {
                b' '..=b'~' if b != b'%' => message.push(b.into()),
                _ => message.push_str(&format!("%{b:02X}")),
            }
        }
        headers.add("grpc-message", message);
    }
    headers
}
