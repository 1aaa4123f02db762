//! The callbacks of one configuration in one VM: reading it, ticks, responses of
//! callouts, and the decisions on requests that waited.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use caracal_mandate::config::{Configuration, Revocation, digest};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use crate::abi::exports::HttpCallResponse;
use crate::abi::hostcalls::{self, BufferType, LogLevel, Status};
use crate::abi::wasi;
use crate::contexts::configuration_errors;
use crate::contexts::http_context::HttpFilter;
use crate::proxy::Proxy;
use crate::proxy::adapter::{SharedDataScope, WhenMissing};
use crate::request::local_reply;
use crate::request::outcome::{self, Cut, Subject};
use crate::vm::admitted;
use crate::vm::live_streams::CutStream;
use crate::vm::pace::Pace;
use crate::vm::pending_callouts;
use crate::vm::plugin::Plugin;
use crate::vm::request_callouts::CalloutEnd;
use crate::vm::request_info::{ResolvedRequest, StreamPhase};

/// Largest configuration that is read, in bytes. The parser has a lower limit.
const MAX_CONFIGURATION_BYTES: usize = 2 * 1024 * 1024;

thread_local! {
    /// The root contexts of this VM, one for each configuration, by their ids.
    static ROOTS: RefCell<Vec<(u32, Weak<RootState>)>> = RefCell::default();
}

/// The root context for the SDK.
pub(crate) struct FilterRoot(Rc<RootState>);

/// The contents of a root context. The SDK owns the context itself; responses of callouts
/// find this here.
pub(crate) struct RootState {
    id: u32,
    plugin: Rc<RefCell<Option<Plugin>>>,
    /// The tick period is set. Setting it again would trap in Kong.
    tick_period_set: Cell<bool>,
}

impl FilterRoot {
    pub(crate) fn new(id: u32) -> Self {
        let state = Rc::new(RootState {
            id,
            plugin: Rc::default(),
            tick_period_set: Cell::default(),
        });
        register(id, &state);
        FilterRoot(state)
    }
}

impl RootState {
    fn configure(&self) -> Result<(), Vec<String>> {
        let document =
            hostcalls::get_buffer(BufferType::PluginConfiguration, MAX_CONFIGURATION_BYTES)
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
        let digest = digest(&document);
        log_start(&digest);
        let proxy = Proxy::of(&configuration);
        let capabilities = proxy.capabilities();
        if capabilities.when_missing == WhenMissing::CallOut {
            pending_callouts::enable_request_callouts(configuration.gateway.is_some());
        }
        let pace = match capabilities.ticks {
            true => {
                let can_change = proxy.takes_other_periods();
                Pace::start(can_change, self.tick_period_set.replace(true))
            }
            false => Ok(Pace::without_ticks()),
        };
        let pace = pace.map_err(|Status(status)| {
            self.tick_period_set.set(false);
            vec![format!("the proxy has no ticks (status {status})")]
        })?;
        let mut plugin =
            Plugin::new(&configuration, &digest, pace, self.id).map_err(|why| vec![why])?;
        plugin.authorizer.key_sets.load_all();
        plugin.remind_of_shadow();
        *self
            .plugin
            .try_borrow_mut()
            .map_err(|_| vec!["the filter is busy".to_owned()])? = Some(plugin);
        if capabilities.shared_data == SharedDataScope::Proxy
            && configuration.shared_data_secret().is_none()
        {
            hostcalls::log(
                LogLevel::Info,
                "caracal: workers share nothing, and each fetches for itself: there is no secret that authenticates shared values (shared_data.secret, or revocation.token)",
            );
        }
        if matches!(configuration.revocation, Revocation::Feed(_)) {
            return Ok(());
        }
        hostcalls::log(
            LogLevel::Warn,
            "caracal: REVOCATION IS DISABLED: a revoked mandate is accepted until it expires (configuration key \"revocation\")",
        );
        Ok(())
    }

    /// Applies verdicts to requests that waited, each under its own context.
    fn apply_resolved(&self, plugin: &mut Plugin, resolved: Vec<ResolvedRequest>) {
        if resolved.is_empty() {
            return;
        }
        for ResolvedRequest {
            stream,
            request,
            phase,
            verdict,
            rewrite,
        } in resolved
        {
            // The context of a stream that has ended is gone. The calls would act on the
            // current one.
            if hostcalls::set_effective_context(stream).is_err() {
                continue;
            }
            let of = Subject {
                stream,
                phase: &phase,
                request: &request,
            };
            let next = outcome::apply(plugin, of, verdict, rewrite.as_ref());
            phase.set(next);
            if next == StreamPhase::Continued {
                if let Some(rewrite) = &rewrite {
                    admitted::insert(stream, plugin.proxy, rewrite.mandate_expires_at);
                }
                outcome::resume();
            }
        }
        let _ = hostcalls::set_effective_context(self.id);
    }

    /// Whether this context ticks, and makes callouts in ticks.
    pub(crate) fn has_ticks(&self) -> bool {
        self.tick_period_set.get()
    }

    /// A callout of a tick has ended.
    pub(crate) fn on_callout_response(&self, response: HttpCallResponse) {
        let Ok(mut plugin) = self.plugin.try_borrow_mut() else {
            return;
        };
        let (Some(plugin), Some(now_ms)) = (plugin.as_mut(), wasi::monotonic_ms()) else {
            return;
        };
        let resolved = plugin.on_callout_response(response, now_ms);
        self.apply_resolved(plugin, resolved);
        plugin.settle_pace(now_ms);
    }

    /// A request's own callout has ended. The request is answered, goes on, or waits for
    /// the next callout that it has just made.
    pub(crate) fn on_request_callout_response(
        &self,
        stream: u32,
        response: HttpCallResponse,
    ) -> StreamPhase {
        let Ok(mut plugin) = self.plugin.try_borrow_mut() else {
            return local_reply::send_lost("Re-entrant call at the edge");
        };
        let Some(plugin) = plugin.as_mut() else {
            return local_reply::send_lost("The edge is not configured");
        };
        let resolved = match plugin.on_request_callout_response(stream, response) {
            Some(CalloutEnd::Decided(resolved)) => resolved,
            Some(CalloutEnd::AnotherCallout) => return StreamPhase::Paused,
            None => return local_reply::send_lost("The edge was reconfigured meanwhile"),
        };
        let of = Subject {
            stream,
            phase: &resolved.phase,
            request: &resolved.request,
        };
        let next = outcome::apply(plugin, of, resolved.verdict, resolved.rewrite.as_ref());
        if next == StreamPhase::Continued {
            if let Some(rewrite) = &resolved.rewrite {
                admitted::insert(stream, plugin.proxy, rewrite.mandate_expires_at);
            }
            outcome::resume();
        }
        next
    }

    fn on_tick(&self) {
        let Ok(mut plugin) = self.plugin.try_borrow_mut() else {
            return;
        };
        let (Some(plugin), Some(now_ms)) = (plugin.as_mut(), wasi::monotonic_ms()) else {
            return;
        };
        let resolved = plugin.on_tick(now_ms);
        self.apply_resolved(plugin, resolved);
        let cut = plugin.ended_streams(now_ms);
        if !cut.is_empty() {
            self.cut(plugin, cut, now_ms);
        }
        plugin.settle_pace(now_ms);
    }

    /// Ends requests whose authority has ended.
    #[cold]
    #[inline(never)]
    fn cut(&self, plugin: &mut Plugin, cut: Vec<CutStream>, now_ms: u64) {
        for mut one in cut {
            let how = match hostcalls::set_effective_context(one.stream) {
                Ok(()) => outcome::cut(plugin, &mut one),
                // Its context is gone.
                Err(Status::BAD_ARGUMENT) => Cut::Ended,
                Err(_) => Cut::Failed,
            };
            match (how, &mut plugin.live) {
                (Cut::Parts, Some(live)) => live.parts(one, now_ms),
                (Cut::Failed, Some(live)) => live.watch_again(one, now_ms),
                (Cut::Ended, _) | (_, None) => {}
            }
        }
        let _ = hostcalls::set_effective_context(self.id);
    }
}

fn register(root: u32, state: &Rc<RootState>) {
    ROOTS.with(|roots| {
        if let Ok(mut roots) = roots.try_borrow_mut() {
            roots.retain(|(id, known)| *id != root && known.strong_count() > 0);
            roots.push((root, Rc::downgrade(state)));
        }
    });
}

/// The root context with an id, while it lives.
pub(crate) fn find(id: u32) -> Option<Rc<RootState>> {
    ROOTS.with(|roots| {
        let roots = roots.try_borrow().ok()?;
        let found = roots.iter().find(|(known, _)| *known == id);
        found.and_then(|(_, root)| root.upgrade())
    })
}

impl Context for FilterRoot {}

/// The host removes the configuration (`proxy_on_delete`).
impl Drop for FilterRoot {
    fn drop(&mut self) {
        if let (Ok(mut plugin), Some(now_ms)) =
            (self.0.plugin.try_borrow_mut(), wasi::monotonic_ms())
            && let Some(plugin) = plugin.as_mut()
        {
            plugin.authorizer.give_back(now_ms);
        }
    }
}

impl RootContext for FilterRoot {
    fn on_configure(&mut self, _: usize) -> bool {
        match self.0.configure() {
            Ok(()) => true,
            Err(errors) => {
                let reasons = errors.join("\n");
                if configuration_errors::is_first_time(&reasons) {
                    for error in errors {
                        hostcalls::log(
                            LogLevel::Critical,
                            &format!("caracal: configuration: {error}"),
                        );
                    }
                }
                false
            }
        }
    }

    fn on_tick(&mut self) {
        self.0.on_tick();
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        let plugin = Rc::clone(&self.0.plugin);
        Some(Box::new(HttpFilter::new(context_id, plugin)))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// Logs the first line, which names the filter and its configuration.
#[cold]
fn log_start(digest: &str) {
    hostcalls::log(
        LogLevel::Info,
        &format!(
            "caracal: caracal-edge {} with the configuration {digest}",
            env!("CARGO_PKG_VERSION")
        ),
    );
}
