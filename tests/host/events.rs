//! What happens as time passes: ticks, responses to callouts, queues. This module has the
//! order in which things are due, and the callbacks that no request causes.

use std::time::Duration;

use crate::host::network::{Arrived, Caller};
use crate::host::start::Begin;
use crate::host::vm::{Called, Context};
use crate::host::{Proxy, Vm};

/// More events than this at one moment mean that a filter is in an endless loop.
const MOST_AT_ONCE: usize = 100_000;

/// A worker cannot handle more timers than this.
const MOST_TIMERS: u32 = 64;

impl Proxy {
    /// Runs everything that is due until `end`, in order. At the same moment, responses
    /// come first, and then ticks, VM by VM.
    pub(crate) fn run_until(&mut self, end: Duration) {
        let mut at_once = 0;
        loop {
            let (vm, root, tick) = match self.next_tick() {
                Some((at, vm, root)) => (vm, root, at),
                None => (Vm::Main, 0, Duration::MAX),
            };
            let answer = self.world().network.next().unwrap_or(Duration::MAX);
            let told = self.world_mut().queues.tell();
            let now = self.world().clock.now;
            let at = if told.is_some() {
                now
            } else {
                answer.min(tick).max(now)
            };
            if at > end {
                break;
            }
            at_once = if at > now { 0 } else { at_once + 1 };
            assert!(at_once < MOST_AT_ONCE, "time stands still at {now:?}");
            self.world_mut().clock.move_to(at);
            if let Some((vm, root, queue)) = told {
                self.call(vm, "proxy_on_queue_ready", &[root, queue]);
            } else if answer <= tick {
                if let Some((to, arrived)) = self.world_mut().network.take(at) {
                    self.deliver(to, arrived);
                }
            } else {
                self.tick(vm, root);
            }
        }
        self.world_mut().clock.move_to(end);
    }

    fn next_tick(&self) -> Option<(Duration, Vm, u32)> {
        let revives = self.world().profile.start.revives;
        let mut all = self.vms.iter();
        let alive = all.by_ref().filter(|(_, i)| revives || i.failed.is_none());
        let next = alive.filter_map(|(vm, instance)| {
            let (at, root) = instance.store.data().ticks.next()?;
            Some((at, *vm, root))
        });
        next.min()
    }

    fn tick(&mut self, vm: Vm, root: u32) {
        let timers = self
            .vms
            .get(&vm)
            .map_or(0, |i| i.store.data().ticks.timers(root));
        if timers > MOST_TIMERS {
            return self.kill_worker(vm);
        }
        for _ in 0..timers {
            if self.world().profile.start.revives {
                self.revive(vm, Begin::Again);
            }
            self.call(vm, "proxy_on_tick", &[root]);
        }
        let now = self.world().clock.now;
        if let Some(instance) = self.vms.get_mut(&vm) {
            instance.store.data_mut().ticks.again(root, now);
        }
    }

    /// Gives a response to a VM. If the VM was replaced, the response is cancelled.
    fn deliver(&mut self, to: Caller, Arrived(what, promised): Arrived) {
        let names_root = self.world().profile.callouts.names_root;
        let Some(instance) = self.vms.get_mut(&to.vm) else {
            return;
        };
        let data = instance.store.data_mut();
        let (stream, named) = match data.contexts.get(&to.context) {
            Some(Context::Http { stream, root, .. }) if names_root => (Some(*stream), *root),
            Some(Context::Http { stream, .. }) => (Some(*stream), to.context),
            Some(Context::Root(_)) => (None, to.context),
            None => return,
        };
        if named != to.context {
            data.acts = Some(to.context);
        }
        let (headers, body) = what
            .as_ref()
            .map_or((0, 0), |(headers, body)| (headers.len(), body.len()));
        data.answer = what;
        data.cut_short = promised.is_some();
        let body = promised.unwrap_or(body);
        let lie = self.world().network.lie;
        let (headers, body) = lie.map_or((headers, body), |(h, b)| (h as usize, b as usize));
        let args = [named, to.token, headers as u32, body as u32, 0];
        if let Some(stream) = stream {
            self.state(stream).dispatched = false;
            if promised.is_some() {
                // The request goes on before the filter can do anything.
                self.answered(stream, false);
            }
        }
        let called = self.call(to.vm, "proxy_on_http_call_response", &args);
        if let Some(stream) = stream {
            self.answered(stream, called == Called::Trapped);
        }
        if called == Called::Trapped {
            return;
        }
        if let Some(instance) = self.vms.get_mut(&to.vm) {
            instance.store.data_mut().answer = None;
        }
    }
}
