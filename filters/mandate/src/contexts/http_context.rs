//! The callbacks of one HTTP request, in the order in which they happen.

use std::cell::{Cell, RefCell};
use std::num::NonZeroU64;
use std::rc::Rc;

use caracal_mandate::decision::verifier::Screened;
use caracal_mandate::mcp::headers::McpHeaders;
use caracal_mandate::reply::ReplyFormat;
use caracal_mandate::token::bearer::bearer_token;
use caracal_mandate::token::fingerprint::Fingerprint;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::abi::hostcalls::{self, LogLevel};
use crate::abi::wasi;
use crate::request::audit;
use crate::request::early;
use crate::request::frames::{self, Passing};
use crate::request::gateway;
use crate::request::head::RequestHead;
use crate::request::local_reply;
use crate::request::message;
use crate::request::outcome::{self, Subject};
use crate::request::sanitizer;
use crate::vm::admitted;
use crate::vm::audit::records;
use crate::vm::framed_streams;
use crate::vm::live_streams;
use crate::vm::pending_callouts;
use crate::vm::plugin::Plugin;
use crate::vm::request_info::{Authorization, RequestInfo, StreamPhase};

/// The HTTP context of a request.
pub(crate) struct HttpFilter {
    id: u32,
    plugin: Rc<RefCell<Option<Plugin>>>,
    phase: Rc<Cell<StreamPhase>>,
}

impl HttpFilter {
    pub(crate) fn new(id: u32, plugin: Rc<RefCell<Option<Plugin>>>) -> Self {
        HttpFilter {
            id,
            plugin,
            phase: Rc::new(Cell::new(StreamPhase::New)),
        }
    }

    /// Judges the request, or lets it wait. What must not go on is hidden before anything
    /// is decided.
    fn on_headers(&self, ends: bool) -> StreamPhase {
        let Ok(mut plugin) = self.plugin.try_borrow_mut() else {
            return local_reply::send_unavailable("Re-entrant call at the edge");
        };
        let Some(plugin) = plugin.as_mut() else {
            return local_reply::send_unavailable("The edge is not configured");
        };
        let proxy = plugin.proxy;
        let came_ns = match plugin.timings {
            true => wasi::monotonic_ns().and_then(NonZeroU64::new),
            false => None,
        };
        if !proxy.capabilities().ticks {
            plugin.remind_of_shadow();
        }
        let headers = match plugin.verify_proxy().and_then(|()| proxy.read_request()) {
            Ok(headers) => headers,
            Err(refusal) => {
                let request = RequestInfo {
                    audit: audit::facts(plugin, None, self.id),
                    came_ns,
                    ..RequestInfo::UNKNOWN
                };
                return outcome::refuse(plugin, &request, &refusal, None);
            }
        };
        #[cfg(feature = "test-hooks")]
        if crate::contexts::test_hooks::handle(&headers, proxy) {
            return StreamPhase::Replied;
        }
        let head = RequestHead::of(&headers, proxy.capabilities());
        let mut view = head.view();
        let mut request = RequestInfo {
            format: head.reply_format(proxy.capabilities()),
            framing: plugin.live.as_ref().and_then(|_| head.framing()),
            audit: audit::facts(plugin, Some(&headers), self.id),
            came_ns,
            ..RequestInfo::UNKNOWN
        };
        let of_mcp;
        if plugin.reads_more {
            of_mcp = McpHeaders::of(
                headers.map.iter(),
                proxy.capabilities().tells_end.then_some(ends),
            );
            view.mcp = Some(&of_mcp);
            if plugin.is_gateway() {
                let kept = gateway::read(&headers, view.authority, self.id);
                view.names_client = kept.names_client;
                view.lists_end_to_end = kept.lists_end_to_end;
                request.gateway = Some(Rc::new(kept));
            }
        }
        if let Err(unfit) = sanitizer::sanitize(proxy, &headers, &plugin.forwarding) {
            return early::refuse_unfit(plugin, &headers, &head, request, &unfit);
        }
        if let Some(document) = plugin.authorizer.document(&view)
            && request.format == ReplyFormat::Http
        {
            let document = document.reply();
            return outcome::answer_document(plugin, &document);
        }
        if plugin.authorizer.asks_readiness(&view) && request.format == ReplyFormat::Http {
            return outcome::answer_readiness(plugin);
        }
        match plugin.authorizer.screen(&view, &mut request.matched) {
            Err(refusal) => {
                request.fingerprint = bearer_token(view.authorization)
                    .ok()
                    .filter(|token| token.len() <= plugin.max_token_bytes)
                    .map(Fingerprint::of);
                early::refuse_early(plugin, &headers, &head, request, &refusal)
            }
            Ok(Screened::Excluded) => outcome::pass_excluded(plugin, came_ns),
            Ok(Screened::Credential(credential)) => {
                request.fingerprint = Some(credential.fingerprint());
                request.resource = Some(credential.resource());
                request.zone = credential.zone();
                let in_shadow = plugin.authorizer.is_in_shadow(request.matched);
                let forwarding = &plugin.forwarding;
                let hidden =
                    sanitizer::hide_credentials(proxy, &headers, &head, forwarding, in_shadow);
                if let Err(refusal) = hidden {
                    return outcome::refuse(plugin, &request, &refusal, None);
                }
                request.is_clean = true;
                plugin.keep_for_exchange(&mut request, &view, &credential);
                if plugin.reads_more
                    && let Some(mirrored) = plugin.authorizer.mirrored(&view, &credential)
                {
                    return message::begin(
                        plugin,
                        self.id,
                        &self.phase,
                        request,
                        credential,
                        mirrored,
                    );
                }
                match plugin.authorize(self.id, &request, credential, &self.phase) {
                    Authorization::Decided(verdict) => {
                        let of = Subject {
                            stream: self.id,
                            phase: &self.phase,
                            request: &request,
                        };
                        outcome::apply(plugin, of, verdict, None)
                    }
                    Authorization::Paused => StreamPhase::Paused,
                }
            }
        }
    }

    /// Reads more of a message. If that is not possible, it is read no more, and the request
    /// does not go on.
    #[cold]
    #[inline(never)]
    fn read(&self, more: impl FnOnce(&mut Plugin) -> StreamPhase) {
        let phase = match self.plugin.try_borrow_mut() {
            Ok(mut plugin) => plugin.as_mut().map(more),
            Err(_) => None,
        };
        let lost = || local_reply::send_unavailable("The edge is not configured");
        self.phase.set(phase.unwrap_or_else(lost));
    }

    /// What a callback returns. A request that waits or was refused must not go on
    /// because a body arrives.
    fn action(&self) -> Action {
        match self.phase.get() {
            StreamPhase::Continued => Action::Continue,
            StreamPhase::New
            | StreamPhase::Reading
            | StreamPhase::Paused
            | StreamPhase::Parting
            | StreamPhase::Replied => Action::Pause,
        }
    }
}

impl Context for HttpFilter {}

impl HttpContext for HttpFilter {
    fn on_http_request_headers(&mut self, _: usize, ends: bool) -> Action {
        let phase = self.on_headers(ends);
        self.phase.set(phase);
        self.action()
    }

    fn on_http_request_body(&mut self, size: usize, is_last: bool) -> Action {
        if self.phase.get() == StreamPhase::Reading {
            self.read(|plugin| message::on_part(plugin, self.id, size, is_last));
        }
        if framed_streams::any() {
            let passing = frames::on_request_body(self.id, size);
            match (self.phase.get(), passing) {
                // Nothing of the client is left in what passes now.
                (StreamPhase::Parting, Passing::Yes) if !is_last => return Action::Continue,
                (_, Passing::No) => return Action::Pause,
                (_, Passing::Yes | Passing::NotFramed) => {}
            }
        }
        self.action()
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        let stripped = self.plugin.try_borrow().is_ok_and(|plugin| {
            plugin.as_ref().is_some_and(|plugin| {
                let has_mcp = plugin.authorizer.has_mcp();
                sanitizer::sanitize_trailers(&plugin.forwarding, plugin.is_gateway(), has_mcp)
                    .is_ok()
            })
        });
        if !stripped {
            hostcalls::log(
                LogLevel::Error,
                "caracal: reserved names could not be removed from trailers: the request is held",
            );
            return Action::Pause;
        }
        if self.phase.get() == StreamPhase::Reading {
            self.read(|plugin| message::on_trailers(plugin, self.id));
        }
        self.action()
    }
}

/// The proxy deletes the context when the stream ends, also if the request still waits.
impl Drop for HttpFilter {
    fn drop(&mut self) {
        admitted::remove(self.id);
        records::forget(self.id);
        framed_streams::forget(self.id);
        match self.phase.get() {
            StreamPhase::Paused | StreamPhase::Reading => {}
            StreamPhase::Continued | StreamPhase::Parting => return live_streams::forget(self.id),
            StreamPhase::Replied => return live_streams::forget_replied(self.id),
            StreamPhase::New => return,
        }
        pending_callouts::cancel(self.id);
        if let Ok(mut plugin) = self.plugin.try_borrow_mut()
            && let Some(plugin) = plugin.as_mut()
        {
            plugin.on_stream_closed(self.id);
        }
    }
}
