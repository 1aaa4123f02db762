//! The public face: what a test can do with a proxy.
#![allow(unused_variables)]

use std::collections::BTreeMap;
use std::time::Duration;

use crate::*;

/// Describes a proxy before it starts.
pub struct Builder {}

impl Builder {
    /// One more listener with this plugin configuration. Identical ones share a root.
    pub fn configuration(self, json: impl Into<Vec<u8>>) -> Self {
        todo!()
    }
    /// The VM configuration; empty by default.
    pub fn vm_configuration(self, bytes: impl Into<Vec<u8>>) -> Self {
        todo!()
    }
    /// The `vm_id`.
    pub fn vm_id(self, id: &str) -> Self {
        todo!()
    }
    /// The number of workers; 1 by default.
    pub fn workers(self, n: usize) -> Self {
        todo!()
    }
    /// One environment variable that the module sees.
    pub fn env(self, name: &str, value: &str) -> Self {
        todo!()
    }
    /// What a trap leads to.
    pub fn failure_policy(self, policy: FailurePolicy) -> Self {
        todo!()
    }
    /// The clusters that exist. Without this call every name is one.
    pub fn clusters<S: Into<String>>(self, names: impl IntoIterator<Item = S>) -> Self {
        todo!()
    }
    /// What `proxy_get_log_level` says; `Info` by default.
    pub fn log_level(self, level: Level) -> Self {
        todo!()
    }
    /// The wall clock at the start, since the epoch.
    pub fn wall(self, since_epoch: Duration) -> Self {
        todo!()
    }
    /// A value that shared data holds before the start.
    pub fn shared(self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        todo!()
    }
    /// Fuel after which a callback traps (a loop without end).
    pub fn fuel_limit(self, fuel: u64) -> Self {
        todo!()
    }
    /// Who answers callouts. Without it they are refused.
    pub fn on_callout(self, handler: impl FnMut(&Callout) -> Answer + 'static) -> Self {
        todo!()
    }
    /// A fault hook: a status makes the host call return it and do nothing.
    pub fn on_host_call(self, hook: impl FnMut(&HostCall) -> Option<u32> + 'static) -> Self {
        todo!()
    }
    /// Starts: canary, main thread, workers, listener by listener.
    pub fn start(self) -> Result<Proxy, StartError> {
        todo!()
    }
}

/// A running proxy.
pub struct Proxy {}

impl Proxy {
    /// An Envoy with this module as its filter.
    pub fn envoy(module: Module) -> Builder {
        todo!()
    }

    // Time.
    /// Since the start, on the monotonic clock.
    pub fn now(&self) -> Duration {
        todo!()
    }
    /// Since the epoch, on the wall clock.
    pub fn wall(&self) -> Duration {
        todo!()
    }
    /// Moves both clocks, and runs every tick and answer that falls due.
    pub fn advance(&mut self, by: Duration) {
        todo!()
    }
    /// Sets the wall clock alone.
    pub fn set_wall(&mut self, since_epoch: Duration) {
        todo!()
    }
    /// Moves the wall clock alone, by seconds, either way.
    pub fn jump_wall(&mut self, seconds: i64) {
        todo!()
    }

    // Requests.
    /// A request arrives at a worker.
    pub fn request(&mut self, worker: usize, request: Request) -> Stream {
        todo!()
    }
    /// More of the request's body.
    pub fn send_body(&mut self, stream: Stream, bytes: impl AsRef<[u8]>, end: bool) {
        todo!()
    }
    /// The upstream answers, all at once.
    pub fn respond(&mut self, stream: Stream, status: u32, headers: impl Into<Headers>) {
        todo!()
    }
    /// The upstream begins an answer that goes on (an event stream, say).
    pub fn respond_open(&mut self, stream: Stream, status: u32, headers: impl Into<Headers>) {
        todo!()
    }
    /// More of the answer's body.
    pub fn respond_body(&mut self, stream: Stream, bytes: impl AsRef<[u8]>, end: bool) {
        todo!()
    }
    /// The client leaves.
    pub fn cancel(&mut self, stream: Stream) {
        todo!()
    }
    /// A request that Envoy answers by itself: `on_log` comes without `on_request_headers`.
    pub fn request_unseen(&mut self, worker: usize, request: Request) -> Stream {
        todo!()
    }
    /// How a request stands.
    pub fn outcome(&self, stream: Stream) -> Outcome {
        todo!()
    }
    /// What the upstream got of a request, whatever became of it.
    pub fn upstream(&self, stream: Stream) -> Option<&Forwarded> {
        todo!()
    }
    /// The response-code details of a stream.
    pub fn details(&self, stream: Stream) -> &str {
        todo!()
    }
    /// A property of one segment that the filter set, as access logs read it.
    pub fn filter_state(&self, stream: Stream, name: &str) -> Option<&[u8]> {
        todo!()
    }
    /// Whether the stream has ended and its context is deleted.
    pub fn is_finished(&self, stream: Stream) -> bool {
        todo!()
    }

    // Workers.
    /// Makes a worker's VM anew; its streams are cut.
    pub fn restart_worker(&mut self, worker: usize) -> Result<(), StartError> {
        todo!()
    }
    /// Why a VM is dead, if it is.
    pub fn failed(&self, vm: Vm) -> Option<&str> {
        todo!()
    }
    /// Bytes of linear memory a VM has.
    pub fn memory_size(&self, vm: Vm) -> usize {
        todo!()
    }
    /// The periods at which a VM ticks, one for each root (zero: not at all).
    pub fn tick_periods(&self, vm: Vm) -> Vec<Duration> {
        todo!()
    }

    // Network.
    /// Another handler for callouts from now on.
    pub fn on_callout(&mut self, handler: impl FnMut(&Callout) -> Answer + 'static) {
        todo!()
    }
    /// Every callout made so far that the host accepted.
    pub fn callouts(&self) -> &[Callout] {
        todo!()
    }
    /// Callouts that wait for an answer.
    pub fn open_callouts(&self) -> Vec<&Callout> {
        todo!()
    }
    /// Answers a callout that is still open (the canary's never is).
    pub fn answer(&mut self, callout: usize, answer: Answer) -> bool {
        todo!()
    }

    // What can be seen.
    /// Every log line so far.
    pub fn logs(&self) -> &[LogLine] {
        todo!()
    }
    /// Whether some line at that level or above contains a text.
    pub fn logged(&self, level: Level, text: &str) -> bool {
        todo!()
    }
    /// A metric by name.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        todo!()
    }
    /// A counter's or gauge's value; 0 when nobody defined it.
    pub fn metric_value(&self, name: &str) -> u64 {
        todo!()
    }
    /// All metrics.
    pub fn metrics(&self) -> &BTreeMap<String, Metric> {
        todo!()
    }
    /// Everything filters did that they must not.
    pub fn violations(&self) -> &[Violation] {
        todo!()
    }
    /// Fails the test when there was a violation or a trap.
    pub fn assert_clean(&self) {
        todo!()
    }
    /// Every callback so far, with its cost.
    pub fn callbacks(&self) -> &[CallbackCost] {
        todo!()
    }
    /// What a stream's callbacks cost together: fuel and host calls.
    pub fn cost(&self, stream: Stream) -> (u64, BTreeMap<&'static str, u64>) {
        todo!()
    }
    /// Forgets logs, callbacks and callouts that are answered (for long tests).
    pub fn forget(&mut self) {
        todo!()
    }
    /// How many bytes the module asked of the random source.
    pub fn random_bytes_drawn(&self) -> u64 {
        todo!()
    }

    // Shared data.
    /// Everything in shared data: key, value, cas. A removed key has an empty value.
    pub fn shared_data(&self) -> BTreeMap<Vec<u8>, (Vec<u8>, u32)> {
        todo!()
    }
    /// Writes as another plugin of the same `vm_id` would.
    pub fn set_shared(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        todo!()
    }
    /// Changes a value behind everyone's back; its cas stays.
    pub fn corrupt_shared(&mut self, key: impl AsRef<[u8]>, change: impl FnOnce(&mut Vec<u8>)) {
        todo!()
    }
    /// Makes a key one that was never written.
    pub fn forget_shared(&mut self, key: impl AsRef<[u8]>) {
        todo!()
    }

    // Faults.
    /// Another fault hook from now on.
    pub fn on_host_call(&mut self, hook: impl FnMut(&HostCall) -> Option<u32> + 'static) {
        todo!()
    }
    /// No fault hook any more.
    pub fn no_faults(&mut self) {
        todo!()
    }
}
