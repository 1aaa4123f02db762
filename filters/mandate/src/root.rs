//! One configuration in one VM: reads it, ticks, fetches the key set, polls the
//! companion, and answers or resumes the requests that waited.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use caracal_mandate::config::{Configuration, Revocation};
use caracal_mandate::keys::MAX_DOCUMENT_BYTES;
use caracal_mandate::revocation::page::MAX_PAGE_BYTES;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use crate::callback;
use crate::engine::{Engine, Phase, Settled};
use crate::host::{self, Buffer, Level, Map};
use crate::request;
use crate::stream::Stream;

/// The first tick fetches; a later one finds within this time what another VM
/// fetched. One read of shared data each.
const TICK: Duration = Duration::from_millis(10);
/// Largest configuration read, in bytes; the reader has its own, smaller bound.
const MAX_CONFIGURATION_BYTES: usize = 2 * 1024 * 1024;

const NOT_TAKEN: &str = "the proxy did not take the call: is there an upstream of that name?";

/// The root context as the SDK has it.
pub(crate) struct Root(Rc<Answered>);

/// What is of a root context, for the SDK's callbacks and for our own.
pub(crate) struct Answered {
    id: u32,
    engine: Rc<RefCell<Option<Engine>>>,
}

impl Root {
    pub(crate) fn new(id: u32) -> Self {
        let answered = Rc::new(Answered {
            id,
            engine: Rc::default(),
        });
        callback::register(id, &answered);
        Root(answered)
    }
}

impl Answered {
    fn configure(&self) -> Result<(), Vec<String>> {
        let document = host::buffer(Buffer::PluginConfiguration, MAX_CONFIGURATION_BYTES).map_err(
            |failed| {
                vec![format!(
                    "the configuration cannot be read (status {})",
                    failed.0
                )]
            },
        )?;
        let environment = |name: &str| std::env::var(name).ok();
        let configuration = Configuration::from_json(&document, &environment)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        host::set_tick_period(TICK)
            .map_err(|failed| vec![format!("the proxy has no ticks (status {})", failed.0)])?;
        let mut engine = Engine::new(&configuration);
        engine.sync();
        *self
            .engine
            .try_borrow_mut()
            .map_err(|_| vec!["the filter is busy".to_owned()])? = Some(engine);
        if matches!(configuration.revocation, Revocation::Feed(_)) {
            return Ok(());
        }
        host::log(
            Level::Warn,
            "caracal: REVOCATION IS DISABLED: a revoked mandate is accepted until it expires (configuration key \"revocation\")",
        );
        Ok(())
    }

    fn fetch(&self, engine: &mut Engine, now_ms: u64) {
        let target = &engine.target;
        let headers = [
            (":method", "GET"),
            (":scheme", target.scheme.as_str()),
            (":authority", target.authority.as_str()),
            (":path", target.path.as_str()),
            ("accept", "application/json"),
        ];
        let timeout = Duration::from_millis(engine.timing.timeout_ms);
        match host::http_call(&engine.upstream, &headers, timeout) {
            Ok(token) => engine.fetch_began(token),
            Err(_) => engine.fetch_ended(Err(NOT_TAKEN.to_owned()), now_ms),
        }
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
        let mut headers = vec![
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "caracal-edge"),
            (":path", poll.path.as_str()),
            ("accept", "application/json"),
        ];
        if let Some(authorization) = &feed.authorization {
            headers.push(("authorization", authorization));
        }
        let timeout = Duration::from_millis(poll.timeout_ms);
        match host::http_call(&feed.upstream, &headers, timeout) {
            Ok(token) => feed.poll_began(token),
            Err(_) => feed.poll_ended(Err(NOT_TAKEN.to_owned()), &mut engine.metrics, now_ms),
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
            if host::set_effective_context(stream).is_err() {
                continue;
            }
            let next = request::carry_out(engine, &request, verdict);
            phase.set(next);
            if next == Phase::Continued && host::continue_request().is_err() {
                host::log(
                    Level::Error,
                    "caracal: an admitted request could not be resumed",
                );
            }
        }
        let _ = host::set_effective_context(self.id);
    }

    /// A callout has ended.
    pub(crate) fn answer(&self, token: u32, num_headers: usize, body_size: usize) {
        let Ok(mut engine) = self.engine.try_borrow_mut() else {
            return;
        };
        let (Some(engine), Some(now_ms)) = (engine.as_mut(), host::monotonic_ms()) else {
            return;
        };
        if engine.is_fetch(token) {
            let answer = match callout_answer(num_headers, body_size, MAX_DOCUMENT_BYTES) {
                Ok((200, document)) => Ok(document),
                Ok((status, _)) => Err(format!("status {status}, expected 200")),
                Err(why) => Err(why),
            };
            engine.fetch_ended(answer, now_ms);
        } else if !engine.is_poll(token) {
            return;
        } else {
            let answer = callout_answer(num_headers, body_size, MAX_PAGE_BYTES);
            engine.poll_ended(answer, now_ms);
        }
        let settled = engine.settle(now_ms);
        self.carry_out(engine, settled);
    }

    fn tick(&self) {
        let Ok(mut engine) = self.engine.try_borrow_mut() else {
            return;
        };
        let (Some(engine), Some(now_ms)) = (engine.as_mut(), host::monotonic_ms()) else {
            return;
        };
        engine.sync();
        let settled = engine.settle(now_ms);
        if engine.begin_fetch(now_ms) {
            self.fetch(engine, now_ms);
        }
        self.poll(engine, now_ms);
        engine.report(now_ms);
        self.carry_out(engine, settled);
    }
}

/// The status and the body of a callout's answer, or why there is none. An answer
/// over `max` bytes is not read.
fn callout_answer(
    num_headers: usize,
    body_size: usize,
    max: usize,
) -> Result<(u16, Vec<u8>), String> {
    // An answer that the proxy itself cut short has no headers at all.
    if num_headers == 0 {
        return Err("no answer, or one that is too large".to_owned());
    }
    let status = host::header(Map::CalloutResponse, ":status")
        .ok()
        .flatten()
        .and_then(|status| std::str::from_utf8(&status).ok()?.parse().ok())
        .ok_or_else(|| "an answer without a status".to_owned())?;
    if status != 200 {
        return Ok((status, Vec::new()));
    }
    if body_size > max {
        return Err(format!("the answer is over {max} bytes"));
    }
    host::buffer(Buffer::CalloutResponseBody, body_size)
        .map(|body| (status, body))
        .map_err(|failed| format!("the answer cannot be read (status {})", failed.0))
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        match self.0.configure() {
            Ok(()) => true,
            Err(errors) => {
                for error in errors {
                    host::log(Level::Critical, &format!("caracal: configuration: {error}"));
                }
                false
            }
        }
    }

    fn on_tick(&mut self) {
        self.0.tick();
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::new(context_id, Rc::clone(&self.0.engine))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
