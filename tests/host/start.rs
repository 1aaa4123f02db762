//! Starting: what a test sets before the start, and the order in which Envoy makes VMs.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::host::profile::Profile;
use crate::host::vm::{Context, Instantiated};
use crate::host::world::World;
use crate::host::{
    Answer, Callout, FailurePolicy, HostCall, HostKind, Level, Module, Proxy, StartError, Vm,
};

/// The wall clock at the start, unless a test says otherwise: 2027-01-15.
const WALL_AT_START: Duration = Duration::from_secs(1_800_000_000);

/// A callback that needs more fuel traps: it is an endless loop.
const FUEL: u64 = 20_000_000_000;

/// What stays the same while a proxy runs.
pub(crate) struct Plan {
    pub(crate) module: Module,
    /// The distinct configurations; one root context in each VM for each.
    pub(crate) configurations: Vec<Vec<u8>>,
    /// The configuration of each listener.
    pub(crate) listeners: Vec<usize>,
    pub(crate) workers: usize,
    pub(crate) policy: FailurePolicy,
    pub(crate) fuel: u64,
    /// The location answers a local reply of the request phase in another way.
    pub(crate) bypassed: bool,
    /// The property without which a request does not reach the upstream.
    pub(crate) gate: Option<Vec<u8>>,
    /// Requests that nginx sends beside each request, before the filter's refusal, and
    /// whether each uses the gate.
    pub(crate) subrequests: Vec<bool>,
    /// While the filter holds a request's headers it is shown the body.
    pub(crate) shows_body: bool,
    /// What the listeners get with the next reload.
    pub(crate) reloaded: Vec<(usize, Vec<u8>)>,
}

impl Plan {
    /// Gives another configuration to a listener.
    pub(crate) fn assign(&mut self, listener: usize, json: Vec<u8>) {
        self.configurations.push(json);
        self.listeners[listener] = self.configurations.len() - 1;
    }
}

/// What a new VM inherits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Nothing.
    Fresh,
    /// The timers of the VM that trapped. `on_vm_start` does not run again.
    Again,
}

/// Describes a proxy before it starts.
pub struct Builder {
    plan: Plan,
    world: World,
}

impl Builder {
    pub(crate) fn new(kind: HostKind, module: Module) -> Self {
        let mut world = World::new(Profile::of(kind), WALL_AT_START);
        world.vm_id = "caracal".to_owned();
        Self {
            plan: Plan {
                module,
                configurations: Vec::new(),
                listeners: Vec::new(),
                workers: 1,
                policy: FailurePolicy::Closed,
                fuel: FUEL,
                bypassed: false,
                gate: None,
                subrequests: Vec::new(),
                shows_body: false,
                reloaded: Vec::new(),
            },
            world,
        }
    }

    /// Adds a listener with this plugin configuration. Listeners with identical
    /// configurations share a root. Without any, there is one listener with an empty
    /// configuration.
    pub fn configuration(mut self, json: impl AsRef<[u8]>) -> Self {
        let json = json.as_ref();
        let all = &mut self.plan.configurations;
        let place = all.iter().position(|c| c == json).unwrap_or(all.len());
        if place == all.len() {
            all.push(json.to_vec());
        }
        self.plan.listeners.push(place);
        self
    }

    /// While the filter holds a request's headers it is shown the body too
    /// (`allow_on_headers_stop_iteration`).
    pub fn shows_body(mut self) -> Self {
        self.plan.shows_body = true;
        self
    }

    /// The VM configuration; empty by default.
    pub fn vm_configuration(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.world.vm_configuration = bytes.as_ref().to_vec();
        self
    }

    /// The `vm_id`.
    pub fn vm_id(mut self, id: &str) -> Self {
        self.world.vm_id = id.to_owned();
        self
    }

    /// The number of workers; 1 by default.
    pub fn workers(mut self, n: usize) -> Self {
        self.plan.workers = n;
        self
    }

    /// One environment variable that the module sees; none by default.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        let variable = (name.to_owned(), value.to_owned());
        self.world.environment.push(variable);
        self
    }

    /// What a trap in a worker causes; [`FailurePolicy::Closed`] by default.
    pub fn failure_policy(mut self, policy: FailurePolicy) -> Self {
        self.plan.policy = policy;
        self
    }

    /// The clusters that exist. Without this call every name exists.
    pub fn clusters<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.world.network.clusters = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// What `proxy_get_log_level` returns; `Info` by default. Lines below it are kept
    /// too.
    pub fn log_level(mut self, level: Level) -> Self {
        self.world.log_level = level;
        self
    }

    /// The wall clock at the start, since the epoch.
    pub fn wall(mut self, since_epoch: Duration) -> Self {
        self.world.clock.wall = since_epoch;
        self
    }

    /// A value that shared data holds before the start.
    pub fn shared(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.world.shared.put(key.as_ref(), value.as_ref());
        self
    }

    /// Shared data with room for this many keys. With none there is no store, and every
    /// call traps (Kong's `shm_kv` zone).
    pub fn shared_room(mut self, keys: usize) -> Self {
        self.world.shared.rules.room = keys;
        self
    }

    /// A full store traps instead of removing the oldest key (`eviction=none`).
    pub fn shared_without_eviction(mut self) -> Self {
        self.world.shared.rules.evicts = false;
        self
    }

    /// The filter is in a location with a `return`, `rewrite ... last` or `try_files
    /// @named`: its replies to requests are bypassed (Kong).
    pub fn replies_bypassed(mut self) -> Self {
        self.plan.bypassed = true;
        self
    }

    /// A request reaches the upstream only if the filter has set the nginx variable
    /// `gate` (`set $gate deny; proxy_pass http://$gate;`). Otherwise the client gets
    /// 502. In APISIX it gets 503, from a plugin after the filter that looks at the
    /// variable.
    pub fn gate(mut self) -> Self {
        let name = match self.world.profile.calls.variables {
            true => b"ngx\0gate".to_vec(),
            false => b"gate".to_vec(),
        };
        self.plan.gate = Some(name);
        self.variables(["gate"])
    }

    /// The nginx variables that are declared (`set $name "";`). Others cannot be set.
    pub fn variables<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        let names = names.into_iter().map(Into::into);
        self.world.variables.extend(names);
        self
    }

    /// nginx sends one more request for each request, before it sends the filter's
    /// refusal: `mirror` or `auth_request`. `gated` means that it uses the gate, as
    /// `proxy_pass` does.
    pub fn subrequest(mut self, gated: bool) -> Self {
        self.plan.subrequests.push(gated);
        self
    }

    /// Hides nginx's properties. With them a filter for Envoy would find out that it runs
    /// in another proxy.
    pub fn hides_itself(mut self) -> Self {
        self.world.hides_itself = true;
        self
    }

    /// Both clocks of the VMs start at 0 with the proxy.
    pub fn clock_from_zero(mut self) -> Self {
        self.world.clock.started = Duration::ZERO;
        self
    }

    /// Fuel after which a callback traps.
    pub fn fuel_limit(mut self, fuel: u64) -> Self {
        self.plan.fuel = fuel;
        self
    }

    /// Answers callouts. Without it they are refused.
    pub fn on_callout(mut self, handler: impl FnMut(&Callout) -> Answer + 'static) -> Self {
        self.world.network.handler = Some(Box::new(handler));
        self
    }

    /// A fault hook: a status makes the host call return it and do nothing;
    /// [`crate::host::status::TRAP`] makes it trap.
    pub fn on_host_call(mut self, hook: impl FnMut(&HostCall) -> Option<u32> + 'static) -> Self {
        self.world.fault = Some(Box::new(hook));
        self
    }

    /// Starts: canary, main thread, workers, configuration by configuration.
    pub fn start(mut self) -> Result<Proxy, StartError> {
        if self.plan.listeners.is_empty() {
            self = self.configuration("");
        }
        let mut proxy = Proxy {
            world: Some(Box::new(self.world)),
            vms: BTreeMap::new(),
            plan: self.plan,
            generation: 0,
        };
        match proxy.bring_up() {
            Ok(()) => Ok(proxy),
            Err(message) => Err(StartError {
                message,
                logs: std::mem::take(&mut proxy.world_mut().logs),
            }),
        }
    }
}

impl Proxy {
    fn bring_up(&mut self) -> Result<(), String> {
        let profile = self.world().profile;
        let mut living: Vec<Vm> = (0..self.plan.workers).map(Vm::Worker).collect();
        if profile.start.main_vm {
            living.insert(0, Vm::Main);
        }
        for configuration in 0..self.plan.configurations.len() {
            if profile.start.canary {
                self.make(Vm::Canary)?;
                let tried = self.add_root(Vm::Canary, configuration, Begin::Fresh);
                self.vms.remove(&Vm::Canary);
                tried?;
            }
            for vm in &living {
                if !self.vms.contains_key(vm) {
                    self.make(*vm)?;
                }
                if !profile.start.lazy {
                    self.add_root(*vm, configuration, Begin::Fresh)?;
                }
            }
        }
        Ok(())
    }

    /// A fresh VM with nothing configured in it.
    fn make(&mut self, vm: Vm) -> Result<(), String> {
        self.generation += 1;
        let mut instance = Instantiated::new(vm, self.generation);
        instance.load(&mut self.world, &self.plan.module, self.plan.fuel);
        let failed = instance.failed.clone();
        self.vms.insert(vm, instance);
        failed.map_or(Ok(()), |why| Err(format!("{vm:?}: {why}")))
    }

    /// Starts one configuration in a VM. If that fails, the VM serves nothing.
    fn add_root(&mut self, vm: Vm, configuration: usize, begin: Begin) -> Result<(), String> {
        let added = self.try_root(vm, configuration, begin);
        added.map_err(|otherwise| self.why(vm, otherwise))
    }

    /// Starts one configuration in a VM, or returns why it is refused.
    pub(crate) fn try_root(
        &mut self,
        vm: Vm,
        configuration: usize,
        begin: Begin,
    ) -> Result<(), &'static str> {
        let bytes = self.plan.configurations[configuration].clone();
        let vm_configuration = self.world().vm_configuration.len() as u32;
        let size = bytes.len() as u32;
        let data = self.data(vm);
        let root = data.add_context(Context::Root(configuration));
        self.call(vm, "proxy_on_context_create", &[root, 0]);
        if begin == Begin::Fresh {
            let started = self.call(vm, "proxy_on_vm_start", &[root, vm_configuration]);
            if started.or(1) != Some(1) {
                return Err("on_vm_start was false");
            }
        }
        self.data(vm).configuration = Some(bytes);
        let configured = self.call(vm, "proxy_on_configure", &[root, size]);
        self.data(vm).configuration = None;
        if configured.or(1) != Some(1) {
            return Err("on_configure was false");
        }
        Ok(())
    }

    /// A worker's root context is configured once more, with other bytes, while its streams
    /// go on.
    #[track_caller]
    pub fn configure_again(&mut self, worker: usize, json: impl AsRef<[u8]>) {
        let vm = Vm::Worker(worker);
        let root = self.data(vm).root_of(0).expect("it is configured");
        let bytes = json.as_ref().to_vec();
        let size = bytes.len() as u32;
        self.data(vm).configuration = Some(bytes);
        let configured = self.call(vm, "proxy_on_configure", &[root, size]);
        self.data(vm).configuration = None;
        assert_eq!(configured.or(1), Some(1), "{:?}", self.logs());
    }

    pub(crate) fn data(&mut self, vm: Vm) -> &mut crate::host::vm::VmData {
        let instance = self.vms.get_mut(&vm).expect("the VM was made");
        instance.store.data_mut()
    }

    /// Why a VM did not start. It serves nothing from then on.
    fn why(&mut self, vm: Vm, otherwise: &str) -> String {
        let instance = self.vms.get_mut(&vm).expect("the VM was made");
        let why = instance.failed.get_or_insert_with(|| otherwise.to_owned());
        format!("{vm:?}: {why}")
    }

    /// Makes a VM again with all its configurations. The callouts of the old one are
    /// cancelled.
    pub(crate) fn remake(&mut self, vm: Vm, begin: Begin) -> Result<(), String> {
        self.world_mut().network.drop_vm(vm);
        let start = self.world().profile.start;
        let before = self.vms.get(&vm).filter(|_| begin == Begin::Again);
        let ticks = before.map(|i| i.store.data().ticks.inherited());
        self.make(vm)?;
        if let Some(ticks) = ticks {
            self.data(vm).ticks = ticks;
        }
        if start.lazy {
            return Ok(());
        }
        for configuration in 0..self.plan.configurations.len() {
            self.add_root(vm, configuration, begin)?;
        }
        Ok(())
    }
}
