//! Requests whose message of MCP is being read, before anything is decided by it. Each has
//! a deadline, and their number is bounded. The proxy holds the message itself.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use caracal_mandate::config::Limits;
use caracal_mandate::decision::verifier::{Credential, Verdict};
use caracal_mandate::mcp::rule::{Mirrored, too_slow};

use crate::abi::hostcalls::{self, LogLevel};
use crate::vm::request_info::{RequestInfo, ResolvedRequest, StreamPhase};

/// A request whose message is being read.
pub(crate) struct UnreadRequest {
    pub(crate) request: RequestInfo,
    pub(crate) credential: Credential<'static>,
    pub(crate) mirrored: Mirrored,
    pub(crate) phase: Rc<Cell<StreamPhase>>,
    /// Longest message that is read, in bytes.
    pub(crate) max_bytes: usize,
}

struct Reading {
    unread: UnreadRequest,
    deadline_ms: u64,
    /// The proxy has shown a part of it.
    has_begun: bool,
}

/// The requests of one configuration.
pub(crate) struct Messages {
    /// By stream.
    all: BTreeMap<u32, Reading>,
    max: usize,
    timeout_ms: u64,
    /// The log already says that no body was shown.
    said: bool,
}

impl Messages {
    #[cold]
    pub(crate) fn new(limits: &Limits) -> Self {
        Messages {
            all: BTreeMap::new(),
            max: usize::try_from(limits.max_paused).unwrap_or(usize::MAX),
            timeout_ms: limits.body_timeout_ms,
            said: false,
        }
    }

    /// Begins to read. `false` if there is no room.
    #[cold]
    #[must_use]
    pub(crate) fn begin(&mut self, stream: u32, unread: UnreadRequest, now_ms: u64) -> bool {
        let has_room = self.all.len() < self.max;
        if has_room {
            let reading = Reading {
                unread,
                deadline_ms: now_ms.saturating_add(self.timeout_ms),
                has_begun: false,
            };
            self.all.insert(stream, reading);
        }
        has_room
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Notes that a part has come, and returns the longest message that is read. None if
    /// the request is not being read.
    #[cold]
    pub(crate) fn on_part(&mut self, stream: u32) -> Option<usize> {
        let reading = self.all.get_mut(&stream)?;
        reading.has_begun = true;
        Some(reading.unread.max_bytes)
    }

    /// Takes a request out: its message is complete, or it is refused, or it has ended.
    #[cold]
    pub(crate) fn take(&mut self, stream: u32) -> Option<UnreadRequest> {
        self.all.remove(&stream).map(|reading| reading.unread)
    }

    /// The requests whose messages have not come in time.
    #[cold]
    pub(crate) fn expired(&mut self, now_ms: u64) -> Vec<ResolvedRequest> {
        let mut expired = Vec::new();
        let late = |(stream, one): (&u32, &Reading)| (one.deadline_ms <= now_ms).then_some(*stream);
        let streams: Vec<u32> = self.all.iter().filter_map(late).collect();
        for stream in streams {
            let Some(Reading {
                unread, has_begun, ..
            }) = self.all.remove(&stream)
            else {
                continue;
            };
            if !has_begun && !self.said {
                self.said = true;
                hostcalls::log(
                    LogLevel::Warn,
                    "caracal: no byte of a message was shown in limits.body_timeout_ms: a route has mcp.body, which needs allow_on_headers_stop_iteration in the filter's config in Envoy; or the client sends none",
                );
            }
            expired.push(ResolvedRequest {
                stream,
                request: unread.request,
                phase: unread.phase,
                verdict: Verdict::Refused(too_slow(), None),
                rewrite: None,
            });
        }
        expired
    }
}
