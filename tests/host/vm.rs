//! One VM: a store, an instance in it, the state of the VM, and one callback from entry
//! to exit. Which callbacks run, and when, is in `flow.rs`, `events.rs` and `start.rs`.

use std::collections::BTreeMap;

use wasmtime::{Instance, Linker, Memory, Store, Val};

use crate::host::clock::Ticks;
use crate::host::metrics::MetricIds;
use crate::host::module::engine;
use crate::host::streams::Way;
use crate::host::world::World;
use crate::host::{CallbackCost, Handed, Headers, Level, Module, Stream, Vm, abi};

/// What one VM knows, besides its memory.
pub(crate) struct VmData {
    /// The process, while a callback runs here.
    world: Option<Box<World>>,
    pub(crate) vm: Vm,
    pub(crate) generation: u64,
    pub(crate) memory: Option<Memory>,
    pub(crate) contexts: BTreeMap<u32, Context>,
    next_context: u32,
    pub(crate) ticks: Ticks,
    pub(crate) metric_ids: MetricIds,
    pub(crate) call: Call,
    /// The plugin configuration, while `on_configure` runs.
    pub(crate) configuration: Option<Vec<u8>>,
    /// The response to a callout, while the VM's callback for it runs.
    pub(crate) answer: Option<(Headers, Vec<u8>)>,
    /// Its body is announced, but cannot be read.
    pub(crate) cut_short: bool,
    pub(crate) deferred: Vec<Deferred>,
    /// The context on which the next callback's calls act, if it is not its own.
    pub(crate) acts: Option<u32>,
}

/// A context of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Context {
    /// A configuration, by its index among the distinct ones.
    Root(usize),
    /// A stream, and its root context.
    Http { stream: usize, root: u32 },
}

/// The callback that runs now.
#[derive(Default)]
pub(crate) struct Call {
    pub(crate) callback: &'static str,
    pub(crate) current: u32,
    /// The context that was switched to; 0 for none.
    pub(crate) effective: u32,
    pub(crate) host_calls: BTreeMap<&'static str, u64>,
    pub(crate) handed: Handed,
    /// A host call that trapped kills the worker.
    pub(crate) kills: bool,
    /// A callout was dispatched.
    pub(crate) dispatched: bool,
}

/// What happens when the callback has ended.
pub(crate) enum Deferred {
    Reply(usize, LocalReply),
    Resume(usize, Way),
    Close(usize),
}

/// A reply from the filter itself.
pub(crate) struct LocalReply {
    pub(crate) status: u32,
    pub(crate) details: String,
    pub(crate) body: Vec<u8>,
    pub(crate) headers: Headers,
    pub(crate) grpc_status: Option<u32>,
}

impl VmData {
    /// The process. It may be called only while a callback runs.
    pub(crate) fn world(&mut self) -> &mut World {
        self.world
            .as_deref_mut()
            .expect("host calls happen inside a callback")
    }

    /// The context on which host calls act: the one that was switched to, while it
    /// exists, or else the one that was called.
    pub(crate) fn acting(&self) -> u32 {
        let Call {
            current, effective, ..
        } = self.call;
        if self.contexts.contains_key(&effective) {
            effective
        } else {
            current
        }
    }

    /// The stream that host calls act on; none in a root context.
    pub(crate) fn stream(&self) -> Option<usize> {
        match self.contexts.get(&self.acting()) {
            Some(Context::Http { stream, .. }) => Some(*stream),
            _ => None,
        }
    }

    /// The root of the context that host calls act on.
    pub(crate) fn root(&self) -> u32 {
        let acting = self.acting();
        match self.contexts.get(&acting) {
            Some(Context::Http { root, .. }) => *root,
            _ => acting,
        }
    }

    /// The root context of a configuration.
    pub(crate) fn root_of(&self, configuration: usize) -> Option<u32> {
        let mut all = self.contexts.iter();
        all.find(|(_, c)| **c == Context::Root(configuration))
            .map(|(id, _)| *id)
    }

    /// Takes the next free number for a context.
    pub(crate) fn add_context(&mut self, context: Context) -> u32 {
        let id = self.next_context;
        self.next_context += 1;
        self.contexts.insert(id, context);
        id
    }
}

/// The result of a callback.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Called {
    /// The module has no such export.
    Absent,
    /// It returned; 0 if it returns nothing.
    Returned(u32),
    Trapped,
}

impl Called {
    /// What it returned, or this if there is no such export.
    pub(crate) fn or(self, absent: u32) -> Option<u32> {
        match self {
            Self::Absent => Some(absent),
            Self::Returned(value) => Some(value),
            Self::Trapped => None,
        }
    }
}

/// A VM.
pub(crate) struct Instantiated {
    pub(crate) store: Store<VmData>,
    instance: Option<Instance>,
    /// Why it is dead.
    pub(crate) failed: Option<String>,
}

impl Instantiated {
    /// A VM in which nothing has run yet.
    pub(crate) fn new(vm: Vm, generation: u64) -> Self {
        let data = VmData {
            world: None,
            vm,
            generation,
            memory: None,
            contexts: BTreeMap::new(),
            next_context: 1,
            ticks: Ticks::default(),
            metric_ids: MetricIds::default(),
            call: Call::default(),
            configuration: None,
            answer: None,
            cut_short: false,
            deferred: Vec::new(),
            acts: None,
        };
        Self {
            store: Store::new(engine(), data),
            instance: None,
            failed: None,
        }
    }

    /// Links and instantiates the module. Envoy does not load a module with imports that
    /// the host does not have.
    pub(crate) fn load(&mut self, world: &mut Option<Box<World>>, module: &Module, fuel: u64) {
        self.inside(world, "_start", 0, fuel, |store, instance| {
            let mut linker = Linker::new(engine());
            let absent = store.data_mut().world().profile.calls.absent;
            abi::link(&mut linker, &module.inner, absent)?;
            let made = linker.instantiate(&mut *store, &module.inner)?;
            store.data_mut().memory = made.get_memory(&mut *store, "memory");
            *instance = Some(made);
            for name in ["_initialize", "_start"] {
                if let Some(start) = made.get_func(&mut *store, name) {
                    start.call(&mut *store, &[], &mut [])?;
                    break;
                }
            }
            Ok(())
        });
    }

    /// Calls an export in a context, and keeps the counts. A trap leaves the VM dead.
    pub(crate) fn call(
        &mut self,
        world: &mut Option<Box<World>>,
        callback: &'static str,
        args: &[u32],
        fuel: u64,
    ) -> Called {
        let mut result = Called::Absent;
        let current = args.first().copied().unwrap_or(0);
        self.inside(world, callback, current, fuel, |store, instance| {
            let found = instance.and_then(|i| i.get_func(&mut *store, callback));
            let Some(function) = found else {
                return Ok(());
            };
            let wanted = function.ty(&*store);
            // ABI 0.1 has fewer parameters.
            let args = args.iter().take(wanted.params().len());
            let args: Vec<Val> = args.map(|a| Val::I32(*a as i32)).collect();
            let mut results = vec![Val::I32(0); wanted.results().len()];
            function.call(&mut *store, &args, &mut results)?;
            let value = results.first().and_then(Val::i32).unwrap_or(0);
            result = Called::Returned(value as u32);
            Ok(())
        });
        if self.failed.is_some() {
            return Called::Trapped;
        }
        result
    }

    fn inside(
        &mut self,
        world: &mut Option<Box<World>>,
        callback: &'static str,
        current: u32,
        fuel: u64,
        run: impl FnOnce(&mut Store<VmData>, &mut Option<Instance>) -> wasmtime::Result<()>,
    ) {
        if self.failed.is_some() {
            return;
        }
        let data = self.store.data();
        let stream = match data.contexts.get(&data.acts.unwrap_or(current)) {
            Some(Context::Http { stream, .. }) => Some(Stream(*stream)),
            _ => None,
        };
        let data = self.store.data_mut();
        data.world = world.take();
        data.call = Call {
            callback,
            current,
            ..Call::default()
        };
        if let Some(acts) = data.acts.take() {
            data.call.effective = acts;
        }
        self.store.set_fuel(fuel).expect("the engine counts fuel");
        let result = run(&mut self.store, &mut self.instance);
        let left = self.store.get_fuel().unwrap_or(0);
        let data = self.store.data_mut();
        *world = data.world.take();
        let host_calls = std::mem::take(&mut data.call.host_calls);
        let handed = data.call.handed;
        let vm = data.vm;
        let world = world.as_deref_mut().expect("the world came back");
        world.costs.push(CallbackCost {
            vm,
            callback,
            stream,
            fuel: fuel.saturating_sub(left),
            host_calls,
            handed,
            at: world.clock.now,
        });
        if let Err(error) = result {
            let text = format!("{callback} trapped: {error:#}");
            world.log(vm, Level::Critical, text.clone());
            self.failed = Some(text);
        }
    }

    pub(crate) fn exported_globals(&mut self, prefix: &str) -> BTreeMap<String, i64> {
        let Some(instance) = self.instance else {
            return BTreeMap::new();
        };
        let exports = instance.exports(&mut self.store);
        let globals: Vec<_> = exports
            .filter_map(|export| {
                let name = export.name().strip_prefix(prefix)?.to_owned();
                Some((name, export.into_global()?))
            })
            .collect();
        globals
            .into_iter()
            .filter_map(|(name, global)| Some((name, global.get(&mut self.store).i64()?)))
            .collect()
    }

    pub(crate) fn memory_size(&self) -> usize {
        let memory = self.store.data().memory;
        memory.map_or(0, |m| m.data_size(&self.store))
    }
}
