//! Moves a stream through the filter chain as Envoy does: a request and its response go
//! through the callbacks, and what the filter asked for happens after each callback. Held
//! messages go on in `resume.rs`, streams end in `ends.rs`, and timers and callouts are
//! in `events.rs`.

use crate::host::streams::{End, Held, Piece, StreamState, Way};
use crate::host::vm::{Called, Context, Deferred};
use crate::host::world::World;
use crate::host::{Forwarded, Headers, Level, Proxy, Reply, Vm, Wrong};

const PAUSE: u32 = 1;

impl Proxy {
    pub(crate) fn world(&self) -> &World {
        self.world.as_deref().expect("no callback runs")
    }

    pub(crate) fn world_mut(&mut self) -> &mut World {
        self.world.as_deref_mut().expect("no callback runs")
    }

    pub(crate) fn state(&mut self, stream: usize) -> &mut StreamState {
        &mut self.world_mut().streams[stream]
    }

    /// Calls into a VM, and then does what the callback asked for.
    pub(crate) fn call(&mut self, vm: Vm, callback: &'static str, args: &[u32]) -> Called {
        let fuel = self.plan.fuel;
        let Some(instance) = self.vms.get_mut(&vm) else {
            return Called::Absent;
        };
        if instance.failed.is_some() {
            return Called::Trapped;
        }
        let Some(profile) = self.world.as_deref().map(|world| world.profile) else {
            return Called::Absent;
        };
        if profile.start.never.contains(&callback) {
            return Called::Absent;
        }
        let acts = instance.store.data().acts;
        let called = instance.call(&mut self.world, callback, args, fuel);
        let data = instance.store.data_mut();
        let deferred = std::mem::take(&mut data.deferred);
        let (kills, dispatched) = (data.call.kills, data.call.dispatched);
        let generation = data.generation;
        let named = args.first().unwrap_or(&0);
        let own = match data.contexts.get(&acts.unwrap_or(*named)) {
            Some(Context::Http { stream, .. }) => Some(*stream),
            _ => None,
        };
        if called == Called::Trapped {
            let all = self.world_mut().streams.iter_mut();
            for s in all.filter(|s| s.vm == vm && s.generation == generation) {
                s.orphan = s.end.is_none();
            }
            if profile.flow.traps_open {
                self.world_mut().violate(Wrong::Trapped, vm, own, callback);
            }
        }
        if called == Called::Absent && profile.start.dies_without.contains(&callback) {
            self.world_mut()
                .violate(Wrong::ExportMissing, vm, own, callback);
            self.kill_worker(vm);
            return called;
        }
        if called == Called::Absent && profile.start.logs_without.contains(&callback) {
            let text = format!("failed to mark context {named} as done");
            self.world_mut().log(vm, Level::Error, text);
        }
        if kills {
            self.kill_worker(vm);
            return called;
        }
        let loses = profile.callouts.one && dispatched;
        for action in deferred {
            match action {
                // The request whose callback trapped gets the 503 instead.
                Deferred::Reply(s, _) if called == Called::Trapped && Some(s) == own => {}
                Deferred::Reply(s, _) if loses && Some(s) == own => self.lose_reply(s, callback),
                Deferred::Reply(s, reply) => self.local_reply(s, reply),
                Deferred::Resume(s, way) => self.resume(s, way),
                Deferred::Close(s) => self.finish(s, End::Cut),
            }
        }
        called
    }

    /// Whether the VM of a stream can still be called for it.
    fn alive(&self, stream: usize) -> bool {
        let s = &self.world().streams[stream];
        let Some(instance) = self.vms.get(&s.vm) else {
            return false;
        };
        let data = instance.store.data();
        instance.failed.is_none()
            && data.generation == s.generation
            && data.contexts.contains_key(&s.context)
    }

    /// A callback of a stream's context; `None` if its VM is dead or dies.
    pub(crate) fn callback(
        &mut self,
        stream: usize,
        name: &'static str,
        args: &[u32],
    ) -> Option<u32> {
        let opens = self.world().profile.flow.traps_open && name.starts_with("proxy_on_response");
        if self.state(stream).bypassed {
            return Some(0);
        }
        if !self.alive(stream) {
            return opens.then_some(0);
        }
        let s = self.state(stream);
        s.dispatched = false;
        let (vm, mut all) = (s.vm, vec![s.context]);
        all.extend_from_slice(args);
        let called = self.call(vm, name, &all);
        let s = self.state(stream);
        if called == Called::Trapped && opens && s.end.is_none() {
            s.bypassed = true;
            self.violate(stream, Wrong::TrapForwards, name);
            return Some(0);
        }
        called.or(0)
    }

    /// A request enters the filter.
    pub(crate) fn enter(&mut self, stream: usize, root: u32) {
        if !self.create_context(stream, root) {
            return self.trapped(stream);
        }
        let lies = self.world().profile.maps.lies;
        let s = self.state(stream);
        s.request.headers_open = true;
        let args = if lies {
            [0, 1]
        } else {
            [
                s.request.headers.len() as u32,
                u32::from(s.headers_only(Way::Request)),
            ]
        };
        match self.callback(stream, "proxy_on_request_headers", &args) {
            None => self.trapped(stream),
            Some(action) => {
                self.send_subrequests(stream);
                self.headers_done(stream, Way::Request, action);
            }
        }
    }

    /// Makes the context of a stream. False if that traps.
    pub(crate) fn create_context(&mut self, stream: usize, root: u32) -> bool {
        let vm = self.state(stream).vm;
        let Some(instance) = self.vms.get_mut(&vm) else {
            return false;
        };
        let data = instance.store.data_mut();
        let context = data.add_context(Context::Http { stream, root });
        let generation = data.generation;
        let s = self.state(stream);
        (s.context, s.root, s.generation) = (context, root, generation);
        let created = self.call(vm, "proxy_on_context_create", &[context, root]);
        created != Called::Trapped
    }

    /// The headers callback of one direction has returned.
    pub(crate) fn headers_done(&mut self, stream: usize, way: Way, action: u32) {
        let s = self.state(stream);
        if way == Way::Request && s.reply_queued {
            // Envoy holds it, whatever the callback returned.
            if action != PAUSE {
                self.violate(
                    stream,
                    Wrong::ContinueAfterReply,
                    "proxy_on_request_headers",
                );
            }
            return;
        }
        if s.end.is_some() || (way == Way::Request && s.upstream.is_some()) {
            return;
        }
        if action == PAUSE {
            let shows_body = way == Way::Request && self.plan.shows_body;
            let half = self.state(stream).half(way);
            half.headers_held = shows_body;
            half.held = match shows_body {
                true => Held::Body,
                false => Held::Headers,
            };
            self.paused(stream, way.on_headers());
            return self.pump(stream, way);
        }
        if !self.goes_on(stream, way.on_headers()) {
            return;
        }
        self.pass_headers(stream, way);
        self.pump(stream, way);
    }

    pub(crate) fn violate(&mut self, stream: usize, wrong: Wrong, during: &str) {
        let vm = self.state(stream).vm;
        self.world_mut().violate(wrong, vm, Some(stream), during);
    }

    /// The headers go on, to the upstream or to the client.
    pub(crate) fn pass_headers(&mut self, stream: usize, way: Way) {
        if way == Way::Request && self.shut(stream) {
            return;
        }
        let reasons = self.world().profile.flow.reason;
        let s = self.state(stream);
        let all = s.headers_only(way);
        let reason = match reasons && s.local {
            true => s.details.clone(),
            false => String::new(),
        };
        let half = s.half(way);
        half.headers_open = false;
        half.held = Held::No;
        let mut headers = half.headers.clone();
        headers.extend(std::mem::take(&mut half.hidden));
        match way {
            Way::Request => {
                s.address(&mut headers);
                s.upstream = Some(Forwarded {
                    headers,
                    ..Forwarded::default()
                });
            }
            Way::Response => {
                let status = headers.text(":status").and_then(|s| s.parse().ok());
                let plain = headers.iter().filter(|(n, _)| !n.starts_with(b":"));
                s.client = Some(Reply {
                    status: status.unwrap_or(0),
                    headers: plain.collect(),
                    body: Vec::new(),
                    grpc_status: s.grpc_status,
                    details: String::new(),
                    reason,
                });
            }
        }
        if all {
            self.half_done(stream, way);
        }
    }

    /// The part of the body that the filter has seen goes on.
    pub(crate) fn pass_body(&mut self, stream: usize, way: Way) {
        if std::mem::take(&mut self.state(stream).half(way).headers_held) {
            self.pass_headers(stream, way);
        }
        let s = self.state(stream);
        let half = s.half(way);
        half.body_open = false;
        half.held = Held::No;
        let bytes = std::mem::take(&mut half.buffer);
        let to = match way {
            Way::Request => s.upstream.as_mut().map(|u| &mut u.body),
            Way::Response => s.client.as_mut().map(|c| &mut c.body),
        };
        if let Some(to) = to {
            to.extend(bytes);
        }
    }

    pub(crate) fn half_done(&mut self, stream: usize, way: Way) {
        match way {
            Way::Request => {
                if let Some(upstream) = &mut self.state(stream).upstream {
                    upstream.complete = true;
                }
            }
            Way::Response => self.finish(stream, End::Complete),
        }
    }

    /// Shows the filter what has arrived and it has not seen yet.
    pub(crate) fn pump(&mut self, stream: usize, way: Way) {
        loop {
            let s = self.state(stream);
            let half = s.half(way);
            let waits = matches!(half.held, Held::Headers | Held::Trailers);
            if s.end.is_some() || waits {
                return;
            }
            let (local, Some(piece)) = (s.local, s.half(way).queue.pop_front()) else {
                return;
            };
            if self.unshown(stream, way, &piece) {
                continue;
            }
            let last = match piece {
                Piece::Body(bytes, last) => {
                    let half = self.state(stream).half(way);
                    half.buffer.extend(bytes);
                    half.body_open = true;
                    let args = [half.buffer.len() as u32, u32::from(last)];
                    match self.callback(stream, way.on_body(), &args) {
                        None if !local => return self.trapped(stream),
                        Some(PAUSE) => {
                            self.hold(stream, way, Held::Body);
                            continue;
                        }
                        _ => last,
                    }
                }
                Piece::Trailers(trailers) => {
                    let half = self.state(stream).half(way);
                    half.trailers = trailers;
                    half.trailers_open = true;
                    let args = [half.trailers.len() as u32];
                    let name = match way {
                        Way::Request => "proxy_on_request_trailers",
                        Way::Response => "proxy_on_response_trailers",
                    };
                    match self.callback(stream, name, &args) {
                        None if !local => return self.trapped(stream),
                        Some(PAUSE) => {
                            self.hold(stream, way, Held::Trailers);
                            continue;
                        }
                        _ => true,
                    }
                }
            };
            let s = self.state(stream);
            if way == Way::Request && (s.local || s.reply_queued) {
                self.violate(stream, Wrong::ContinueAfterReply, "proxy_on_request_body");
                return;
            }
            if s.end.is_some() || !self.goes_on(stream, way.on_body()) {
                return;
            }
            self.pass_body(stream, way);
            if last {
                self.pass_end(stream, way);
            }
        }
    }

    pub(crate) fn pass_end(&mut self, stream: usize, way: Way) {
        let s = self.state(stream);
        let half = s.half(way);
        if half.trailers_open {
            half.trailers_open = false;
            let trailers = half.trailers.clone();
            if let (Way::Request, Some(upstream)) = (way, &mut s.upstream) {
                upstream.trailers = Some(trailers);
            }
        }
        self.half_done(stream, way);
    }

    /// A response enters the filter: the upstream's, or the filter's own.
    pub(crate) fn begin_response(
        &mut self,
        stream: usize,
        headers: Headers,
        body: Option<Vec<u8>>,
        ended: bool,
    ) {
        let s = self.state(stream);
        let local = s.local;
        let half = &mut s.response;
        half.held = Held::No;
        half.headers = headers;
        half.headers_open = true;
        half.begun = true;
        half.ended = ended;
        half.queue.clear();
        let body = body.filter(|b| !b.is_empty());
        half.queue.extend(body.map(|b| Piece::Body(b, ended)));
        let args = [
            half.headers.len() as u32,
            u32::from(s.headers_only(Way::Response)),
        ];
        match self.callback(stream, "proxy_on_response_headers", &args) {
            None if local => self.headers_done(stream, Way::Response, 0),
            None => self.trapped(stream),
            Some(action) => self.headers_done(stream, Way::Response, action),
        }
    }
}
