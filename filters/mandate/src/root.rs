//! One configuration in one VM: reads it, ticks, fetches the key set, and answers
//! or resumes the requests that waited for it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use caracal_mandate::config::Configuration;
use caracal_mandate::keys::MAX_DOCUMENT_BYTES;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use crate::engine::{Engine, Phase, Settled};
use crate::host::{self, Buffer, Level, Map};
use crate::request;
use crate::stream::Stream;

/// The first tick fetches; a later one finds within this time what another VM
/// fetched. One read of shared data each.
const TICK: Duration = Duration::from_millis(10);
/// Largest configuration read, in bytes; the reader has its own, smaller bound.
const MAX_CONFIGURATION_BYTES: usize = 2 * 1024 * 1024;

pub(crate) struct Root {
    id: u32,
    engine: Rc<RefCell<Option<Engine>>>,
}

impl Root {
    pub(crate) fn new(id: u32) -> Self {
        Root {
            id,
            engine: Rc::default(),
        }
    }

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
        host::log(
            Level::Warn,
            "caracal: REVOCATION IS DISABLED: a revoked mandate is accepted until it expires (configuration key \"revocation\")",
        );
        Ok(())
    }

    fn fetch(&self, engine: &mut Engine, now_ms: u64) {
        let target = &engine.target;
        let headers = vec![
            (":method", "GET"),
            (":scheme", target.scheme.as_str()),
            (":authority", target.authority.as_str()),
            (":path", target.path.as_str()),
            ("accept", "application/json"),
        ];
        let timeout = Duration::from_millis(engine.timing.timeout_ms);
        match self.dispatch_http_call(&engine.upstream, headers, None, vec![], timeout) {
            Ok(token) => engine.fetch_began(token),
            Err(_) => {
                let why = "the proxy did not take the call: is there an upstream of that name?";
                engine.fetch_ended(Err(why.to_owned()), now_ms);
            }
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
}

/// The body of a callout's answer, or why it is no key set.
fn callout_answer(num_headers: usize, body_size: usize) -> Result<Vec<u8>, String> {
    // An answer that the proxy itself cut short has no headers at all.
    if num_headers == 0 {
        return Err("no answer, or one that is too large".to_owned());
    }
    let status = host::header(Map::CalloutResponse, ":status")
        .ok()
        .flatten()
        .unwrap_or_default();
    if status != b"200" {
        let shown: String = String::from_utf8_lossy(&status)
            .chars()
            .filter(char::is_ascii_digit)
            .take(3)
            .collect();
        return Err(format!("status {shown}, expected 200"));
    }
    if body_size > MAX_DOCUMENT_BYTES {
        return Err(format!("the key set is over {MAX_DOCUMENT_BYTES} bytes"));
    }
    host::buffer(Buffer::CalloutResponseBody, body_size)
        .map_err(|failed| format!("the answer cannot be read (status {})", failed.0))
}

impl Context for Root {
    fn on_http_call_response(
        &mut self,
        token: u32,
        num_headers: usize,
        body_size: usize,
        _: usize,
    ) {
        let Ok(mut engine) = self.engine.try_borrow_mut() else {
            return;
        };
        let (Some(engine), Some(now_ms)) = (engine.as_mut(), host::monotonic_ms()) else {
            return;
        };
        if !engine.is_fetch(token) {
            return;
        }
        engine.fetch_ended(callout_answer(num_headers, body_size), now_ms);
        let settled = engine.settle(now_ms);
        self.carry_out(engine, settled);
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        match self.configure() {
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
        engine.report(now_ms);
        self.carry_out(engine, settled);
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::new(context_id, Rc::clone(&self.engine))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
