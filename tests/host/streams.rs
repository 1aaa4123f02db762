//! One request on its way through the proxy, as plain state, and its outcome for the
//! test. `flow.rs` moves it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::host::profile::{UPSTREAM_HOST, UPSTREAM_URI};
use crate::host::{Forwarded, Headers, Outcome, Reply, Request, Vm};

/// The way to the upstream, or the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Request,
    Response,
}

impl Way {
    /// The callback that gets its headers.
    pub(crate) fn on_headers(self) -> &'static str {
        match self {
            Self::Request => "proxy_on_request_headers",
            Self::Response => "proxy_on_response_headers",
        }
    }

    /// The callback that gets its body.
    pub(crate) fn on_body(self) -> &'static str {
        match self {
            Self::Request => "proxy_on_request_body",
            Self::Response => "proxy_on_response_body",
        }
    }
}

/// A part of a message that the filter has not seen yet.
pub(crate) enum Piece {
    Body(Vec<u8>, bool),
    Trailers(Headers),
}

/// Where the filter holds a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Held {
    #[default]
    No,
    Headers,
    Body,
    Trailers,
}

/// One direction of a stream.
#[derive(Default)]
pub(crate) struct Half {
    pub(crate) headers: Headers,
    /// Headers that the filter does not see any more, but that are sent.
    pub(crate) hidden: Headers,
    pub(crate) trailers: Headers,
    /// Whether the filter can reach each map and the body now.
    pub(crate) headers_open: bool,
    pub(crate) trailers_open: bool,
    pub(crate) body_open: bool,
    pub(crate) held: Held,
    /// The headers are held too, and the body is shown all the same.
    pub(crate) headers_held: bool,
    /// What the filter has not seen yet.
    pub(crate) queue: VecDeque<Piece>,
    /// The part of the body that it has seen and that has not gone on.
    pub(crate) buffer: Vec<u8>,
    /// The headers came.
    pub(crate) begun: bool,
    /// The end came, seen by the filter or not.
    pub(crate) ended: bool,
}

/// Why a stream has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The response came to its end.
    Complete,
    /// The filter closed it, or replied after the response had begun.
    Cut,
    /// The client left.
    Cancelled,
    /// The filter's VM trapped, now or before.
    Trapped,
}

/// A request and its answer.
pub(crate) struct StreamState {
    pub(crate) vm: Vm,
    pub(crate) generation: u64,
    /// Its context in that VM, and the root of that; 0 without a context.
    pub(crate) context: u32,
    pub(crate) root: u32,
    pub(crate) begun_at: Duration,
    pub(crate) ended_at: Duration,
    pub(crate) properties: Vec<(String, Vec<u8>)>,
    pub(crate) request: Half,
    pub(crate) response: Half,
    pub(crate) upstream: Option<Forwarded>,
    pub(crate) client: Option<Reply>,
    /// The response is the filter's own.
    pub(crate) local: bool,
    pub(crate) grpc_status: Option<u32>,
    /// A reply or a resumption waits for the end of the callback.
    pub(crate) reply_queued: bool,
    pub(crate) resume_queued: bool,
    /// `on_log` is running: both header maps can be read.
    pub(crate) logging: bool,
    /// The last callback made a callout.
    pub(crate) dispatched: bool,
    /// The filter is not called any more, and everything goes on.
    pub(crate) bypassed: bool,
    pub(crate) end: Option<End>,
    pub(crate) hung: bool,
    /// Its VM is dead.
    pub(crate) orphan: bool,
    pub(crate) details: String,
    /// Requests that nginx sent beside it.
    pub(crate) subrequests: usize,
    pub(crate) filter_state: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl StreamState {
    /// The host and the target that APISIX's own variables have for the upstream.
    pub(crate) fn address(&self, headers: &mut Headers) {
        for (variable, names) in [
            (UPSTREAM_HOST, &[":authority", "host"][..]),
            (UPSTREAM_URI, &[":path"]),
        ] {
            if let Some(value) = self.filter_state.get(variable.as_bytes()) {
                names.iter().for_each(|name| headers.set(name, value));
            }
        }
    }

    /// The upstream has answered.
    pub(crate) fn of_upstream(&self) -> bool {
        self.response.begun && !self.local
    }

    /// The client got all of its response.
    pub(crate) fn is_whole(&self) -> bool {
        self.end.is_none_or(|end| end == End::Complete)
    }

    pub(crate) fn new(vm: Vm, now: Duration, request: &Request) -> Self {
        let mut way = Half {
            headers: request.headers.clone(),
            begun: true,
            ..Half::default()
        };
        let trailers = request.trailers.clone();
        if let Some(body) = &request.body {
            let last = !request.open && trailers.is_none();
            way.queue.push_back(Piece::Body(body.clone(), last));
        }
        way.queue.extend(trailers.map(Piece::Trailers));
        way.ended = !request.open;
        Self {
            vm,
            generation: 0,
            context: 0,
            root: 0,
            begun_at: now,
            ended_at: now,
            properties: request.properties.clone(),
            request: way,
            response: Half::default(),
            upstream: None,
            client: None,
            local: false,
            grpc_status: None,
            reply_queued: false,
            resume_queued: false,
            logging: false,
            dispatched: false,
            bypassed: false,
            end: None,
            hung: false,
            orphan: false,
            details: String::new(),
            subrequests: 0,
            filter_state: BTreeMap::new(),
        }
    }

    pub(crate) fn half(&mut self, way: Way) -> &mut Half {
        match way {
            Way::Request => &mut self.request,
            Way::Response => &mut self.response,
        }
    }

    /// Whether this direction has only headers.
    pub(crate) fn headers_only(&self, way: Way) -> bool {
        let half = match way {
            Way::Request => &self.request,
            Way::Response => &self.response,
        };
        half.ended && half.queue.is_empty()
    }

    /// Whether the client speaks gRPC; gRPC-Web does not count.
    pub(crate) fn is_grpc(&self) -> bool {
        let kind = self.request.headers.text("content-type").unwrap_or("");
        kind == "application/grpc"
            || kind.starts_with("application/grpc+")
            || kind.starts_with("application/grpc;")
    }

    /// The outcome for the test.
    pub(crate) fn outcome(&self) -> Outcome {
        let reply = |reply: &Reply| Reply {
            details: self.details.clone(),
            ..reply.clone()
        };
        let held = [&self.request, &self.response];
        let held = held.iter().any(|half| half.held != Held::No);
        match (self.end, &self.client) {
            (Some(End::Cancelled), _) => Outcome::Cancelled,
            (Some(End::Cut), client) => Outcome::Cut {
                reply: client.as_ref().map(reply),
                details: self.details.clone(),
            },
            (Some(End::Trapped), Some(client)) => Outcome::Trapped(reply(client)),
            _ if self.hung || (self.orphan && held && self.end.is_none()) => Outcome::Hung,
            (_, Some(client)) if self.local => Outcome::Replied(reply(client)),
            (_, Some(client)) => Outcome::Answered(reply(client)),
            _ if held => Outcome::Paused,
            (_, None) => Outcome::Forwarded(self.upstream.clone().unwrap_or_default()),
        }
    }
}

/// The gRPC status for an HTTP status.
pub(crate) fn grpc_status_of(http: u32) -> u32 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(kind: &str) -> StreamState {
        let request = Request::get("/").header("content-type", kind);
        StreamState::new(Vm::Worker(0), Duration::ZERO, &request)
    }

    #[test]
    fn grpc_is_told_from_grpc_web() {
        assert!(stream("application/grpc").is_grpc());
        assert!(stream("application/grpc+proto").is_grpc());
        assert!(!stream("application/grpc-web").is_grpc());
        assert!(!stream("application/json").is_grpc());
        assert_eq!(grpc_status_of(401), 16);
        assert_eq!(grpc_status_of(418), 2);
    }

    #[test]
    fn a_request_ends_with_its_last_piece() {
        let new = |r: Request| StreamState::new(Vm::Worker(0), Duration::ZERO, &r);
        assert!(new(Request::get("/")).headers_only(Way::Request));
        assert!(!new(Request::get("/").open()).headers_only(Way::Request));
        let mut with = new(Request::post("/", "x").trailers([("t", "1")]));
        assert!(matches!(
            with.request.queue.pop_front(),
            Some(Piece::Body(_, false))
        ));
        let mut plain = new(Request::post("/", "x"));
        assert!(matches!(
            plain.request.queue.pop_front(),
            Some(Piece::Body(_, true))
        ));
    }
}
