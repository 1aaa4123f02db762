//! One HTTP request.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use caracal_mandate::decide::Screened;
use caracal_mandate::jws;
use caracal_mandate::mandate::Fingerprint;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::abi::hostcalls::{self, Level};
use crate::contexts::callout_response;
use crate::request::head::Headers;
use crate::request::outcome::{self, Request};
use crate::vm::plugin::{Engine, Outcome, Phase};

pub(crate) struct Stream {
    id: u32,
    engine: Rc<RefCell<Option<Engine>>>,
    phase: Rc<Cell<Phase>>,
}

impl Stream {
    pub(crate) fn new(id: u32, engine: Rc<RefCell<Option<Engine>>>) -> Self {
        Stream {
            id,
            engine,
            phase: Rc::new(Cell::new(Phase::New)),
        }
    }

    fn begin(&self) -> Phase {
        let Ok(mut engine) = self.engine.try_borrow_mut() else {
            return outcome::reply_broken("The edge is busy with itself");
        };
        let Some(engine) = engine.as_mut() else {
            return outcome::reply_broken("The edge is not configured");
        };
        let headers = match engine
            .check_proxy()
            .and_then(|()| Headers::read(engine.host))
        {
            Ok(headers) => headers,
            Err(refusal) => return outcome::refuse(engine, &Request::UNREAD, &refusal, None),
        };
        #[cfg(feature = "test-hooks")]
        if crate::contexts::test_hooks::answered(&headers) {
            return Phase::Refused;
        }
        let asked = headers.asked();
        let view = asked.view();
        let mut request = Request {
            format: asked.format(),
            ..Request::UNREAD
        };
        if let Err(refusal) = headers.strip(&engine.forwarding) {
            return outcome::refuse(engine, &request, &refusal, None);
        }
        match engine.screen(&view) {
            Err(refusal) => {
                request.fingerprint = jws::bearer_token(view.authorization)
                    .ok()
                    .filter(|token| token.len() <= engine.max_token_bytes)
                    .map(Fingerprint::of);
                outcome::refuse(engine, &request, &refusal, None)
            }
            Ok(Screened::Excluded) => outcome::exclude(engine),
            Ok(Screened::Credential(credential)) => {
                request.fingerprint = Some(credential.fingerprint());
                request.resource = Some(credential.resource());
                match engine.judge(self.id, &request, credential, &self.phase) {
                    Outcome::Decided(verdict) => outcome::carry_out(engine, &request, verdict),
                    Outcome::Waits => Phase::Waiting,
                }
            }
        }
    }

    /// What a callback answers after the headers': a body that arrives must not
    /// carry on a request that waits or was refused.
    fn action(&self) -> Action {
        match self.phase.get() {
            Phase::Continued => Action::Continue,
            Phase::New | Phase::Waiting | Phase::Refused => Action::Pause,
        }
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let phase = self.begin();
        self.phase.set(phase);
        self.action()
    }

    fn on_http_request_body(&mut self, _: usize, _: bool) -> Action {
        self.action()
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        let stripped = self.engine.try_borrow().is_ok_and(|engine| {
            engine
                .as_ref()
                .is_some_and(|engine| Headers::strip_trailers(&engine.forwarding).is_ok())
        });
        if !stripped {
            hostcalls::log(
                Level::Error,
                "caracal: reserved names could not be removed from trailers: the request is held",
            );
            return Action::Pause;
        }
        self.action()
    }
}

/// The host deletes the context of a stream that has ended, also while its request
/// waits.
impl Drop for Stream {
    fn drop(&mut self) {
        if self.phase.get() != Phase::Waiting {
            return;
        }
        callout_response::forget(self.id);
        if let Ok(mut engine) = self.engine.try_borrow_mut()
            && let Some(engine) = engine.as_mut()
        {
            engine.forget(self.id);
        }
    }
}
