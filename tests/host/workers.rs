//! Workers: which root in which VM serves a request, restarts, reloads, and what is lost
//! if a whole worker crashes. `start.rs` makes VMs.

use crate::host::start::Begin;
use crate::host::streams::{End, StreamState};
use crate::host::{FailurePolicy, Headers, Proxy, Reply, Request, StartError, Stream, Vm};

/// Who serves a request.
enum Taken {
    /// This root context.
    By(u32),
    /// Nobody: its VM is dead, or its configuration was refused.
    Dead,
    /// The proxy itself, with this status.
    Refused(u32),
}

impl Proxy {
    /// A request arrives at a worker.
    #[track_caller]
    pub fn request(&mut self, worker: usize, request: Request) -> Stream {
        let (stream, taken) = self.arrive(worker, request);
        match taken {
            Taken::By(root) => self.enter(stream.0, root),
            Taken::Dead => self.trapped(stream.0),
            Taken::Refused(status) => self.refused(stream.0, status),
        }
        stream
    }

    /// A request that the proxy answers by itself (400) before the filter sees it. Its
    /// context gets `on_log` without `on_request_headers`. If the response of an earlier
    /// plugin runs the response hook (APISIX), it gets that.
    #[track_caller]
    pub fn request_unseen(&mut self, worker: usize, request: Request) -> Stream {
        let (stream, taken) = self.arrive(worker, request);
        let hook = self.world().profile.flow.hook_of_unseen;
        match taken {
            Taken::By(root) if !self.create_context(stream.0, root) => self.trapped(stream.0),
            Taken::By(_) if hook => {
                let headers = Headers::from([(":status", "400")]);
                self.begin_response(stream.0, headers, None, true);
            }
            Taken::By(_) => self.refused(stream.0, 400),
            Taken::Dead => self.trapped(stream.0),
            Taken::Refused(status) => self.refused(stream.0, status),
        }
        stream
    }

    /// The proxy answers by itself.
    pub(crate) fn refused(&mut self, stream: usize, status: u32) {
        self.state(stream).client = Some(Reply {
            status,
            headers: Headers::new(),
            body: Vec::new(),
            grpc_status: None,
            details: String::new(),
            reason: String::new(),
        });
        self.finish(stream, End::Complete);
    }

    /// Records a request, and finds the root that serves it in a living VM.
    #[track_caller]
    fn arrive(&mut self, worker: usize, mut request: Request) -> (Stream, Taken) {
        let vm = Vm::Worker(worker);
        let configuration = *self
            .plan
            .listeners
            .get(request.listener)
            .unwrap_or_else(|| panic!("there is no listener {}", request.listener));
        assert!(self.vms.contains_key(&vm), "there is no worker {worker}");
        let profile = self.world().profile;
        if profile.maps.joins {
            request.headers = request.headers.joined();
        } else if let Some(host) = request.headers.get(":authority").map(<[u8]>::to_vec) {
            request.headers.push("host", host);
        }
        let doubled = request.headers.all("authorization").len() > 1;
        if let Some(name) = profile.maps.server_name {
            request.headers.set(":authority", name);
        }
        let now = self.now();
        let streams = &mut self.world_mut().streams;
        let stream = Stream(streams.len());
        streams.push(StreamState::new(vm, now, &request));
        if doubled && !profile.maps.joins {
            return (stream, Taken::Refused(400));
        }
        if profile.start.revives {
            self.revive(vm, Begin::Again);
        } else if self.plan.policy == FailurePolicy::Reload {
            self.revive(vm, Begin::Fresh);
        }
        let taken = match self.root(vm, configuration) {
            None if profile.start.lazy => self.begin(vm, configuration),
            found => found,
        };
        (stream, taken.map_or(Taken::Dead, Taken::By))
    }

    /// The root of a configuration, in a living VM.
    fn root(&self, vm: Vm, configuration: usize) -> Option<u32> {
        let instance = self.vms.get(&vm).filter(|i| i.failed.is_none());
        instance.and_then(|i| i.store.data().root_of(configuration))
    }

    /// Starts a configuration for the first request that uses it. None if it is refused;
    /// then the next request tries again.
    fn begin(&mut self, vm: Vm, configuration: usize) -> Option<u32> {
        let alive = self.vms.get(&vm).is_some_and(|i| i.failed.is_none());
        if !alive {
            return None;
        }
        let times = 1 + usize::from(self.world().profile.start.tries_twice);
        for _ in 0..times {
            let begun = self.try_root(vm, configuration, Begin::Fresh);
            let root = self.root(vm, configuration)?;
            if begun.is_ok() {
                return Some(root);
            }
            self.data(vm).contexts.remove(&root);
        }
        None
    }

    /// Makes a dead VM again. If that fails, the reason is in the log, and the VM stays
    /// dead.
    pub(crate) fn revive(&mut self, vm: Vm, begin: Begin) {
        let dead = self.vms.get(&vm).is_some_and(|i| i.failed.is_some());
        if dead {
            let _ = self.remake(vm, begin);
        }
    }

    /// Makes a worker's VM again, as Envoy does when it drains and starts a listener. Its
    /// streams are cut off without a callback to the filter.
    pub fn restart_worker(&mut self, worker: usize) -> Result<(), StartError> {
        self.make_again(Vm::Worker(worker))
    }

    fn make_again(&mut self, vm: Vm) -> Result<(), StartError> {
        self.cut_off(vm, "");
        self.remake(vm, Begin::Fresh).map_err(|message| StartError {
            message,
            logs: self.world().logs.clone(),
        })
    }

    /// A VM's configurations are removed, and it is made again, as Envoy does it with another
    /// file of the filter: it tells each root context first.
    pub fn retire(&mut self, vm: Vm) -> Result<(), StartError> {
        for configuration in 0..self.plan.configurations.len() {
            let root = self.data(vm).root_of(configuration);
            for callback in ["proxy_on_done", "proxy_on_delete"] {
                root.map(|root| self.call(vm, callback, &[root]));
            }
        }
        self.make_again(vm)
    }

    /// The worker's process dies. Its clients see their connections end, and another
    /// process replaces it.
    pub(crate) fn kill_worker(&mut self, vm: Vm) {
        self.cut_off(vm, "worker_died");
        // If that fails, it is in the log, and the VM is dead.
        let _ = self.remake(vm, Begin::Fresh);
    }

    /// A worker's VM and its streams are gone.
    fn cut_off(&mut self, vm: Vm, details: &str) {
        self.vms.remove(&vm);
        for stream in 0..self.world().streams.len() {
            let s = self.state(stream);
            if s.vm == vm && s.end.is_none() {
                if !details.is_empty() {
                    s.details = details.to_owned();
                }
                self.finish(stream, End::Cut);
            }
        }
    }

    /// Another configuration for a listener. If configurations start lazily, it is one
    /// more root in the same VMs, and the next request uses it. Otherwise it needs a
    /// [`Proxy::reload`].
    pub fn reconfigure(&mut self, listener: usize, json: impl AsRef<[u8]>) {
        let json = json.as_ref().to_vec();
        if self.world().profile.start.lazy {
            self.plan.assign(listener, json);
        } else {
            self.plan.reloaded.push((listener, json));
        }
    }

    /// Reloads the proxy: every worker is made again, and shared data is empty. A refused
    /// configuration is an outage.
    pub fn reload(&mut self) -> Result<(), StartError> {
        for (listener, json) in std::mem::take(&mut self.plan.reloaded) {
            self.plan.assign(listener, json);
        }
        // Configurations that no listener uses any more are removed.
        let mut kept: Vec<Vec<u8>> = Vec::new();
        for place in &mut self.plan.listeners {
            let bytes = &self.plan.configurations[*place];
            *place = kept.iter().position(|c| c == bytes).unwrap_or(kept.len());
            if *place == kept.len() {
                kept.push(bytes.clone());
            }
        }
        self.plan.configurations = kept;
        self.world_mut().shared.wipe();
        (0..self.plan.workers).try_for_each(|worker| self.restart_worker(worker))
    }
}
