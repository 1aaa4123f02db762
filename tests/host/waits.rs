//! Requests that wait, in proxies where waiting is special.
//!
//! Some proxies do not simply show a request and hold it until somebody resumes it. This
//! module says what `Pause`, `Continue`, a body and the end of a callout's callback mean
//! there.

use crate::host::profile::Pause;
use crate::host::streams::{Held, Piece, Way};
use crate::host::{Proxy, Wrong};

impl Proxy {
    pub(crate) fn hold(&mut self, stream: usize, way: Way, held: Held) {
        let s = self.state(stream);
        if s.end.is_none() && !(way == Way::Request && s.local) {
            s.half(way).held = held;
            self.paused(stream, way.on_body());
        }
    }

    /// Passes on what the filter is not shown. True if it was passed on.
    pub(crate) fn unshown(&mut self, stream: usize, way: Way, piece: &Piece) -> bool {
        if !self.world().profile.flow.body_on_demand {
            return false;
        }
        let s = self.state(stream);
        let name: &[u8] = match way {
            Way::Request => b"wasm_process_req_body",
            Way::Response => b"wasm_process_resp_body",
        };
        let asked = s.filter_state.contains_key(name);
        let half = s.half(way);
        let last = match piece {
            Piece::Body(_, true) if asked => return false,
            Piece::Body(bytes, last) => {
                half.buffer.extend(bytes);
                *last
            }
            // nginx reads a request's trailers, but does not pass them on.
            Piece::Trailers(_) if way == Way::Request => true,
            Piece::Trailers(trailers) => {
                half.trailers = trailers.clone();
                half.trailers_open = true;
                true
            }
        };
        if !asked || last {
            self.pass_body(stream, way);
        }
        if last {
            self.pass_end(stream, way);
        }
        true
    }

    /// A callback paused its stream.
    pub(crate) fn paused(&mut self, stream: usize, during: &str) {
        let pause = self.world().profile.flow.pause;
        let s = self.state(stream);
        let (vm, waits) = (s.vm, s.dispatched || s.reply_queued);
        if s.end.is_some() || waits || pause == Pause::Holds {
            return;
        }
        if pause == Pause::Kills {
            self.violate(stream, Wrong::PauseKills, during);
            self.kill_worker(vm);
        } else {
            self.violate(stream, Wrong::PauseForever, during);
        }
    }

    /// A callback lets its stream go on. False if the worker dies of it.
    pub(crate) fn goes_on(&mut self, stream: usize, during: &str) -> bool {
        let s = self.state(stream);
        let (vm, dispatched) = (s.vm, s.dispatched);
        if dispatched && self.world().profile.callouts.ticks_only {
            self.violate(stream, Wrong::ContinueAfterCallout, during);
            self.kill_worker(vm);
            return false;
        }
        true
    }

    /// The callback of a stream's callout has ended. If it left the stream waiting
    /// without another callout, the stream goes on.
    pub(crate) fn answered(&mut self, stream: usize, trapped: bool) {
        let s = self.state(stream);
        let more = s.dispatched && !trapped;
        if s.end.is_some() || s.local || more {
            return;
        }
        if s.request.held == Held::No {
            return;
        }
        if trapped && !self.world().profile.callouts.trap_forwards {
            return self.trapped(stream);
        }
        let s = self.state(stream);
        s.bypassed = trapped;
        let wrong = if trapped {
            Wrong::TrapForwards
        } else {
            Wrong::ForwardedUndecided
        };
        self.violate(stream, wrong, "proxy_on_http_call_response");
        self.resume(stream, Way::Request);
    }

    /// Whether a gate keeps a request from the upstream, and the client gets a 502.
    pub(crate) fn shut(&mut self, stream: usize) -> bool {
        let Some(gate) = self.plan.gate.clone() else {
            return false;
        };
        if self.state(stream).filter_state.contains_key(&gate) {
            return false;
        }
        let by_plugin = !self.world().profile.calls.variables;
        self.refused(stream, if by_plugin { 503 } else { 502 });
        true
    }

    /// What nginx sends beside a request, after the filter has seen its headers and
    /// before a refusal is sent.
    pub(crate) fn send_subrequests(&mut self, stream: usize) {
        let all = self.plan.subrequests.clone();
        let opened = self.plan.gate.clone().is_some_and(|gate| {
            let state = &self.world().streams[stream].filter_state;
            state.contains_key(&gate)
        });
        let sent = all.iter().filter(|gated| !**gated || opened).count();
        self.state(stream).subrequests += sent;
    }

    /// Whether the location goes on although the filter replied.
    pub(crate) fn bypass_reply(&mut self, stream: usize) -> bool {
        let bypassed = self.plan.bypassed;
        let s = self.state(stream);
        if !bypassed || s.upstream.is_some() || s.response.begun {
            return false;
        }
        s.reply_queued = false;
        self.violate(stream, Wrong::ReplyBypassed, "proxy_send_local_response");
        self.pass_headers(stream, Way::Request);
        self.pump(stream, Way::Request);
        true
    }

    /// A reply is lost because its callback made a callout.
    pub(crate) fn lose_reply(&mut self, stream: usize, during: &str) {
        self.state(stream).reply_queued = false;
        self.violate(stream, Wrong::ReplyLost, during);
    }
}
