//! One configuration in one VM: reads it, ticks, fetches the key set, polls the
//! companion, and answers or resumes the requests that waited.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use caracal_mandate::config::{Configuration, Host, Revocation, digest};
use caracal_mandate::keys::MAX_DOCUMENT_BYTES;
use caracal_mandate::revocation::answers::MAX_ANSWER_BYTES;
use caracal_mandate::revocation::page::MAX_PAGE_BYTES;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use crate::abi::hostcalls::{self, Buffer, Level};
use crate::abi::wasi;
use crate::contexts::callout_response;
use crate::contexts::http_context::Stream;
use crate::request::outcome;
use crate::vm::callouts;
use crate::vm::plugin::{Engine, Phase, Settled};
use crate::vm::request_callouts::Ended;

/// The first tick fetches; a later one finds within this time what another VM
/// fetched. One read of shared data each.
const TICK: Duration = Duration::from_millis(10);
/// Largest configuration read, in bytes; the reader has its own, smaller bound.
const MAX_CONFIGURATION_BYTES: usize = 2 * 1024 * 1024;

/// The root context as the SDK has it.
pub(crate) struct Root(Rc<Answered>);

/// What is of a root context, for the SDK's callbacks and for our own.
pub(crate) struct Answered {
    id: u32,
    engine: Rc<RefCell<Option<Engine>>>,
    /// Its tick period was set: a second time would trap on Kong, or make two timers.
    ticks: Cell<bool>,
}

impl Root {
    pub(crate) fn new(id: u32) -> Self {
        let answered = Rc::new(Answered {
            id,
            engine: Rc::default(),
            ticks: Cell::default(),
        });
        callout_response::register(id, &answered);
        Root(answered)
    }
}

impl Answered {
    fn configure(&self) -> Result<(), Vec<String>> {
        let document = hostcalls::buffer(Buffer::PluginConfiguration, MAX_CONFIGURATION_BYTES)
            .map_err(|failed| {
                vec![format!(
                    "the configuration cannot be read (status {})",
                    failed.0
                )]
            })?;
        let variables = wasi::environment();
        let environment = |name: &str| {
            let mut all = variables.iter();
            all.find(|(known, _)| known == name)
                .map(|(_, value)| value.clone())
        };
        let configuration = Configuration::from_json(&document, &environment)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        log_start(&document);
        // APISIX has no ticks, and its requests call out themselves.
        if configuration.host == Host::Apisix {
            callout_response::requests_call();
        } else if !self.ticks.get() {
            hostcalls::set_tick_period(TICK)
                .map_err(|failed| vec![format!("the proxy has no ticks (status {})", failed.0)])?;
            self.ticks.set(true);
        }
        let mut engine = Engine::new(&configuration, self.id).map_err(|why| vec![why])?;
        engine.sync();
        *self
            .engine
            .try_borrow_mut()
            .map_err(|_| vec!["the filter is busy".to_owned()])? = Some(engine);
        if matches!(configuration.revocation, Revocation::Feed(_)) {
            return Ok(());
        }
        hostcalls::log(
            Level::Warn,
            "caracal: REVOCATION IS DISABLED: a revoked mandate is accepted until it expires (configuration key \"revocation\")",
        );
        Ok(())
    }

    /// Asks the companion when it is time to, and goes on with what is under way.
    fn poll(&self, engine: &mut Engine, now_ms: u64) {
        let Some(feed) = &engine.feed else { return };
        let Ok(mut feed) = feed.try_borrow_mut() else {
            return;
        };
        let Some(poll) = feed.tick(&mut engine.metrics, now_ms) else {
            return;
        };
        match feed.companion.page(&poll.path, poll.timeout_ms) {
            Ok(token) => feed.poll_began(token),
            Err(_) => feed.poll_not_taken(&mut engine.metrics, now_ms),
        }
    }

    /// Answers or resumes requests, each under its own context.
    fn carry_out(&self, engine: &mut Engine, settled: Vec<Settled>) {
        if settled.is_empty() {
            return;
        }
        for Settled {
            stream,
            request,
            phase,
            verdict,
        } in settled
        {
            // A stream that is gone has no context to switch to, and the calls
            // would act on this one.
            if hostcalls::set_effective_context(stream).is_err() {
                continue;
            }
            let next = outcome::carry_out(engine, &request, verdict);
            phase.set(next);
            if next == Phase::Continued {
                outcome::resume();
            }
        }
        let _ = hostcalls::set_effective_context(self.id);
    }

    /// Whether this root ticks, and calls out itself.
    pub(crate) fn ticks(&self) -> bool {
        self.ticks.get()
    }

    /// A callout has ended.
    pub(crate) fn answer(&self, token: u32, num_headers: usize, body_size: usize) {
        let Ok(mut engine) = self.engine.try_borrow_mut() else {
            return;
        };
        let (Some(engine), Some(now_ms)) = (engine.as_mut(), wasi::monotonic_ms()) else {
            return;
        };
        if let Some(fetching) = engine.take_fetch(token) {
            let answer = callouts::answer(engine.host, num_headers, body_size, MAX_DOCUMENT_BYTES);
            engine.fetch_ended(&fetching, answer, now_ms);
        } else if !engine.is_poll(token) {
            return;
        } else {
            let answer = callouts::answer(engine.host, num_headers, body_size, MAX_PAGE_BYTES);
            engine.poll_ended(answer, now_ms);
        }
        let settled = engine.settle(now_ms);
        self.carry_out(engine, settled);
    }

    /// A request's own callout has ended: the request is answered or goes on, or waits for
    /// another call that it has just made.
    pub(crate) fn answer_stream(&self, stream: u32, num_headers: usize, size: usize) -> Phase {
        let Ok(mut engine) = self.engine.try_borrow_mut() else {
            return outcome::reply_broken("The edge is busy with itself");
        };
        let Some(engine) = engine.as_mut() else {
            return outcome::reply_broken("The edge is not configured");
        };
        let max = MAX_DOCUMENT_BYTES.max(MAX_ANSWER_BYTES);
        let answer = callouts::answer(engine.host, num_headers, size, max);
        let settled = match engine.own_answer(stream, answer) {
            Some(Ended::Decided(settled)) => settled,
            Some(Ended::CallsAgain) => return Phase::Waiting,
            None => return outcome::reply_broken("The edge was configured anew meanwhile"),
        };
        let next = outcome::carry_out(engine, &settled.request, settled.verdict);
        if next == Phase::Continued {
            outcome::resume();
        }
        next
    }

    fn tick(&self) {
        let Ok(mut engine) = self.engine.try_borrow_mut() else {
            return;
        };
        let (Some(engine), Some(now_ms)) = (engine.as_mut(), wasi::monotonic_ms()) else {
            return;
        };
        engine.sync();
        engine.note_key_set(now_ms);
        let settled = engine.settle(now_ms);
        engine.fetch(now_ms);
        self.poll(engine, now_ms);
        engine.report(now_ms);
        self.carry_out(engine, settled);
    }
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        match self.0.configure() {
            Ok(()) => true,
            Err(errors) => {
                let said = errors.join("\n");
                if callout_response::is_news(&said) {
                    for error in errors {
                        hostcalls::log(
                            Level::Critical,
                            &format!("caracal: configuration: {error}"),
                        );
                    }
                }
                false
            }
        }
    }

    fn on_tick(&mut self) {
        self.0.tick();
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        let engine = Rc::clone(&self.0.engine);
        Some(Box::new(Stream::new(context_id, engine)))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// The first line: which filter, and which configuration.
#[cold]
fn log_start(document: &[u8]) {
    let digest = digest(document);
    hostcalls::log(
        Level::Info,
        &format!(
            "caracal: caracal-edge {} with the configuration {digest:08x}",
            env!("CARGO_PKG_VERSION")
        ),
    );
}
