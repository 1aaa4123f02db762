//! What a test can do with a proxy, and see of it: the methods of [`Proxy`]. `flow.rs`,
//! `events.rs` and `start.rs` do the work.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::host::shared_data::{OtherPlugin, Values};
use crate::host::start::Plan;
use crate::host::streams::{End, Piece, StreamState, Way};
use crate::host::vm::Instantiated;
use crate::host::world::World;
use crate::host::{
    Answer, Builder, CallbackCost, Callout, Cost, Forwarded, Headers, HostCall, HostKind, Level,
    LogLine, Metric, Module, Outcome, Stream, Violation, Vm,
};

/// A running proxy.
pub struct Proxy {
    /// Absent only while a callback runs.
    pub(crate) world: Option<Box<World>>,
    pub(crate) vms: BTreeMap<Vm, Instantiated>,
    pub(crate) plan: Plan,
    pub(crate) generation: u64,
}

impl Proxy {
    /// An Envoy with this module as its filter.
    pub fn envoy(module: Module) -> Builder {
        Builder::new(HostKind::Envoy, module)
    }

    /// An nginx with Kong's ngx_wasm_module and this module as its filter.
    pub fn kong(module: Module) -> Builder {
        Builder::new(HostKind::Kong, module)
    }

    /// An nginx with APISIX's wasm-nginx-module and this module as its filter.
    pub fn apisix(module: Module) -> Builder {
        Builder::new(HostKind::Apisix, module)
    }

    // ---- Time

    /// Since the start, on the monotonic clock.
    pub fn now(&self) -> Duration {
        self.world().clock.now
    }

    /// Since the epoch, on the wall clock.
    pub fn wall(&self) -> Duration {
        self.world().clock.wall
    }

    /// Moves both clocks, and runs every tick and every response that is due, each at its
    /// time. `Duration::ZERO` delivers the responses that take no time.
    pub fn advance(&mut self, by: Duration) {
        self.run_until(self.now() + by);
    }

    /// Sets the wall clock alone.
    pub fn set_wall(&mut self, since_epoch: Duration) {
        self.world_mut().clock.wall = since_epoch;
    }

    /// Moves the wall clock alone, by seconds, either way.
    pub fn jump_wall(&mut self, seconds: i64) {
        let by = Duration::from_secs(seconds.unsigned_abs());
        let wall = &mut self.world_mut().clock.wall;
        *wall = if seconds < 0 {
            wall.saturating_sub(by)
        } else {
            *wall + by
        };
    }

    // ---- Messages

    /// Sends more of the body of a request that was left [`Request::open`].
    pub fn send_body(&mut self, stream: Stream, bytes: impl AsRef<[u8]>, end: bool) {
        let s = self.state(stream.0);
        if s.end.is_some() || s.local {
            return;
        }
        assert!(!s.request.ended, "the request has ended");
        s.request.ended = end;
        let piece = Piece::Body(bytes.as_ref().to_vec(), end);
        s.request.queue.push_back(piece);
        self.pump(stream.0, Way::Request);
    }

    /// The upstream answers, at once and without a body.
    pub fn respond(&mut self, stream: Stream, status: u32, headers: impl Into<Headers>) {
        self.upstream_answers(stream, status, headers.into(), true);
    }

    /// The upstream begins a response that stays open, such as an event stream.
    pub fn respond_open(&mut self, stream: Stream, status: u32, headers: impl Into<Headers>) {
        self.upstream_answers(stream, status, headers.into(), false);
    }

    fn upstream_answers(&mut self, stream: Stream, status: u32, headers: Headers, end: bool) {
        let s = self.state(stream.0);
        if s.end.is_some() {
            return;
        }
        assert!(s.upstream.is_some(), "the upstream has no such request");
        assert!(!s.response.begun, "the upstream has answered");
        let mut all = Headers::from([(":status", status.to_string())]);
        for (name, value) in headers.iter() {
            all.add(name, value);
        }
        self.begin_response(stream.0, all, None, end);
    }

    /// More of the answer's body.
    pub fn respond_body(&mut self, stream: Stream, bytes: impl AsRef<[u8]>, end: bool) {
        let s = self.state(stream.0);
        if s.end.is_some() {
            return;
        }
        assert!(s.response.begun, "the upstream has not answered yet");
        assert!(!s.response.ended, "the answer has ended");
        s.response.ended = end;
        let piece = Piece::Body(bytes.as_ref().to_vec(), end);
        s.response.queue.push_back(piece);
        self.pump(stream.0, Way::Response);
    }

    /// The client leaves.
    pub fn cancel(&mut self, stream: Stream) {
        let waits = self.world().network.open();
        let waits = waits.filter(|c| c.stream == Some(stream)).count() > 0;
        if waits && !self.world().profile.callouts.notices_leavers {
            return;
        }
        self.finish(stream.0, End::Cancelled);
    }

    /// The number of requests that nginx sent beside one: `mirror`, `auth_request`.
    pub fn subrequests(&self, stream: Stream) -> usize {
        self.stream(stream).subrequests
    }

    fn stream(&self, stream: Stream) -> &StreamState {
        &self.world().streams[stream.0]
    }

    /// The state of a request.
    pub fn outcome(&self, stream: Stream) -> Outcome {
        self.stream(stream).outcome()
    }

    /// What the upstream got of a request, whatever happened to it.
    pub fn upstream(&self, stream: Stream) -> Option<&Forwarded> {
        self.stream(stream).upstream.as_ref()
    }

    /// The response-code details of a stream.
    pub fn details(&self, stream: Stream) -> &str {
        &self.stream(stream).details
    }

    /// A property with one segment that the filter set, as access logs read it.
    pub fn filter_state(&self, stream: Stream, name: &str) -> Option<&[u8]> {
        let state = &self.stream(stream).filter_state;
        state.get(name.as_bytes()).map(Vec::as_slice)
    }

    /// The same as text. Fails the test if it is not UTF-8.
    pub fn filter_state_text(&self, stream: Stream, name: &str) -> Option<&str> {
        let value = self.filter_state(stream, name)?;
        Some(std::str::from_utf8(value).expect("filter state in UTF-8"))
    }

    /// Whether the stream has ended and its context is deleted.
    pub fn is_finished(&self, stream: Stream) -> bool {
        self.stream(stream).end.is_some()
    }

    // ---- Workers

    /// Why a VM is dead, if it is.
    pub fn failed(&self, vm: Vm) -> Option<&str> {
        self.vms.get(&vm)?.failed.as_deref()
    }

    /// Bytes of linear memory a VM has; 0 when there is no such VM.
    pub fn memory_size(&self, vm: Vm) -> usize {
        self.vms.get(&vm).map_or(0, Instantiated::memory_size)
    }

    /// The periods at which a VM ticks, one for each distinct configuration in
    /// order (zero: not at all).
    pub fn tick_periods(&self, vm: Vm) -> Vec<Duration> {
        let Some(instance) = self.vms.get(&vm) else {
            return Vec::new();
        };
        let data = instance.store.data();
        let roots = 0..self.plan.configurations.len();
        let roots = roots.filter_map(|c| data.root_of(c));
        roots.map(|root| data.ticks.period(root)).collect()
    }

    // ---- Network

    /// Uses another handler for callouts from now on.
    pub fn on_callout(&mut self, handler: impl FnMut(&Callout) -> Answer + 'static) {
        self.world_mut().network.handler = Some(Box::new(handler));
    }

    /// Every callout made so far that the host accepted.
    pub fn callouts(&self) -> &[Callout] {
        &self.world().network.log
    }

    /// Those of one cluster.
    pub fn callouts_to(&self, cluster: &str) -> Vec<&Callout> {
        let all = self.callouts().iter();
        all.filter(|c| c.cluster == cluster).collect()
    }

    /// Callouts that wait for an answer.
    pub fn open_callouts(&self) -> Vec<&Callout> {
        self.world().network.open().collect()
    }

    /// Answers a callout that is still open (the canary's never is). False if it is not.
    /// [`Proxy::advance`] delivers the response.
    pub fn answer(&mut self, callout: usize, answer: Answer) -> bool {
        let now = self.now();
        self.world_mut().network.answer(callout, answer, now)
    }

    /// Answers a callout again, which Envoy never does. False if it is not known.
    pub fn answer_again(&mut self, callout: usize, answer: Answer) -> bool {
        let now = self.now();
        self.world_mut().network.answer_again(callout, answer, now)
    }

    /// From now on, callbacks get these sizes instead of the real ones, which Envoy never
    /// does: the number of headers, and the length of the body.
    pub fn lie_about_sizes(&mut self, lie: Option<(u32, u32)>) {
        self.world_mut().network.lie = lie;
    }

    // ---- What can be seen

    /// Every log line so far.
    pub fn logs(&self) -> &[LogLine] {
        &self.world().logs
    }

    /// Whether some line at that level or above contains a text.
    pub fn logged(&self, level: Level, text: &str) -> bool {
        let mut lines = self.logs().iter();
        lines.any(|line| line.level >= level && line.text.contains(text))
    }

    /// A metric by name.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics().get(name)
    }

    /// A counter's or gauge's value, or the number of a histogram's values; 0 if nobody
    /// defined it.
    pub fn metric_value(&self, name: &str) -> u64 {
        match self.metric(name) {
            Some(Metric::Counter(value) | Metric::Gauge(value)) => *value,
            Some(Metric::Histogram(values)) => values.len() as u64,
            None => 0,
        }
    }

    /// All metrics.
    pub fn metrics(&self) -> &BTreeMap<String, Metric> {
        &self.world().metrics.by_name
    }

    /// Everything that the filter did and must not do.
    pub fn violations(&self) -> &[Violation] {
        &self.world().violations
    }

    /// Fails the test if there was a violation or a trap.
    #[track_caller]
    pub fn assert_clean(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "violations: {violations:#?}");
        let dead: Vec<_> = self.vms.keys().filter_map(|vm| self.failed(*vm)).collect();
        assert!(dead.is_empty(), "dead VMs: {dead:#?}");
    }

    /// Every callback so far, with its cost.
    pub fn callbacks(&self) -> &[CallbackCost] {
        &self.world().costs
    }

    /// What a stream's callbacks cost together.
    pub fn cost(&self, stream: Stream) -> Cost {
        let mut sum = Cost::default();
        for cost in self.callbacks() {
            if cost.stream == Some(stream) {
                sum.fuel += cost.fuel;
                sum.handed.bytes += cost.handed.bytes;
                sum.handed.allocations += cost.handed.allocations;
                for (name, n) in &cost.host_calls {
                    *sum.host_calls.entry(*name).or_default() += n;
                }
            }
        }
        sum
    }

    /// Forgets logs, costs and answered callouts (for long runs).
    pub fn forget(&mut self) {
        let world = self.world_mut();
        world.logs.clear();
        world.costs.clear();
        world.network.forget();
    }

    /// The 64-bit globals that a worker's VM exports under names with this prefix.
    pub fn exported_globals(&mut self, worker: usize, prefix: &str) -> BTreeMap<String, i64> {
        let vm = self.vms.get_mut(&Vm::Worker(worker));
        vm.map_or_else(BTreeMap::new, |vm| vm.exported_globals(prefix))
    }

    /// How many bytes the module took from the random source.
    pub fn random_bytes_drawn(&self) -> u64 {
        self.world().random.drawn
    }

    // ---- Shared data

    /// Everything in shared data: key to value and cas. A removed key has an
    /// empty value.
    pub fn shared_data(&self) -> &Values {
        self.world().shared.all()
    }

    /// Writes as another plugin with the same `vm_id` would. No bytes remove the key.
    pub fn set_shared(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let shared = &mut self.world_mut().shared;
        shared.put(key.as_ref(), value.as_ref());
    }

    /// Lets another plugin with the same `vm_id` see all values before each call of the
    /// filter for shared data, and write one. None removes the plugin.
    pub fn other_plugin(&mut self, plugin: Option<OtherPlugin>) {
        self.world_mut().shared.other_plugin = plugin;
    }

    /// Changes a value without a new cas. Fails the test if there is no such key.
    #[track_caller]
    pub fn corrupt_shared(&mut self, key: impl AsRef<[u8]>, change: impl FnOnce(&mut Vec<u8>)) {
        let found = self.world_mut().shared.corrupt(key.as_ref(), change);
        assert!(found, "no such key: {}", key.as_ref().escape_ascii());
    }

    /// The next read of shared data happens at the same time as a write of this value by
    /// another worker, if the host allows that (Kong).
    pub fn write_during_next_read(&mut self, value: impl AsRef<[u8]>) {
        self.world_mut().shared.torn = Some(value.as_ref().to_vec());
    }

    /// Makes a key look as if it was never written.
    pub fn forget_shared(&mut self, key: impl AsRef<[u8]>) {
        self.world_mut().shared.forget(key.as_ref());
    }

    // ---- Faults

    /// Uses another fault hook from now on; see [`Builder::on_host_call`].
    pub fn on_host_call(&mut self, hook: impl FnMut(&HostCall) -> Option<u32> + 'static) {
        self.world_mut().fault = Some(Box::new(hook));
    }

    /// Removes the fault hook.
    pub fn no_faults(&mut self) {
        self.world_mut().fault = None;
    }
}
