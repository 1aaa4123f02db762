//! The host functions that a module imports.
//!
//! This file links them, and has what all of them need: arguments, memory, and how they
//! end. The functions are in the files beside it, by group. What they act on is
//! elsewhere.

mod buffers;
mod foreign;
mod maps;
mod network;
mod properties;
mod state;
mod streams;
mod wasi;

use wasmtime::{Caller, ExternType, Linker, Val, ValType};

use crate::host::status;
use crate::host::vm::VmData;
use crate::host::{Wrong, world::World};

/// How a host function fails.
pub(crate) enum Stop {
    /// It returns this status.
    Status(u32),
    /// The module traps.
    Trap(wasmtime::Error),
}

impl From<u32> for Stop {
    fn from(status: u32) -> Self {
        Self::Status(status)
    }
}

type Done = Result<(), Stop>;
type Function = fn(&mut Host<'_, '_>, Args<'_>) -> Done;

/// One host function: its name, the shape of its parameters (`i` for 32 bits,
/// `I` for 64), and what it does.
type Entry = (&'static str, &'static str, Function);

/// The arguments of a host call. Their shape was checked when it was linked.
#[derive(Clone, Copy)]
pub(crate) struct Args<'a>(&'a [Val]);

impl Args<'_> {
    fn u(&self, at: usize) -> u32 {
        self.0[at].unwrap_i32() as u32
    }

    fn u64(&self, at: usize) -> u64 {
        self.0[at].unwrap_i64() as u64
    }
}

/// The module that called, as host functions see it.
pub(crate) struct Host<'a, 'b> {
    caller: &'a mut Caller<'b, VmData>,
    name: &'static str,
}

impl Host<'_, '_> {
    fn data(&mut self) -> &mut VmData {
        self.caller.data_mut()
    }

    fn world(&mut self) -> &mut World {
        self.caller.data_mut().world()
    }

    /// Records that the filter did something it must not do.
    fn violate(&mut self, wrong: Wrong) {
        let name = self.name;
        let data = self.data();
        let during = format!("{} > {name}", data.call.callback);
        let (vm, stream) = (data.vm, data.stream());
        data.world().violate(wrong, vm, stream, &during);
    }

    /// Records it, and traps.
    fn refuse(&mut self, wrong: Wrong) -> Stop {
        self.violate(wrong);
        Stop::Trap(wasmtime::format_err!("{wrong:?} in {}", self.name))
    }

    /// Records it, traps, and kills the worker.
    fn die(&mut self, wrong: Wrong) -> Stop {
        self.data().call.kills = true;
        self.refuse(wrong)
    }

    fn memory(&mut self) -> Result<&mut [u8], Stop> {
        let memory = self
            .data()
            .memory
            .ok_or(Stop::Status(status::INVALID_MEMORY_ACCESS))?;
        Ok(memory.data_mut(&mut *self.caller))
    }

    fn slice(&mut self, at: u32, size: u32) -> Result<&mut [u8], Stop> {
        let (at, size) = (at as usize, size as usize);
        let end = at.saturating_add(size);
        let found = self.memory()?.get_mut(at..end);
        found.ok_or(Stop::Status(status::INVALID_MEMORY_ACCESS))
    }

    fn bytes(&mut self, at: u32, size: u32) -> Result<Vec<u8>, Stop> {
        let bytes = self.slice(at, size)?.to_vec();
        self.caller.data_mut().call.handed.bytes += u64::from(size);
        Ok(bytes)
    }

    fn text(&mut self, at: u32, size: u32) -> Result<String, Stop> {
        let bytes = self.bytes(at, size)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn put_u32(&mut self, at: u32, value: u32) -> Done {
        self.slice(at, 4)?.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn put_u64(&mut self, at: u32, value: u64) -> Done {
        self.slice(at, 8)?.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    /// Passes bytes to the module, in memory that the module allocates. No bytes are a
    /// null pointer.
    fn give(&mut self, bytes: &[u8], pointer: u32, size: u32) -> Done {
        let at = if bytes.is_empty() {
            0
        } else {
            let at = self.allocate(bytes.len() as u32)?;
            self.slice(at, bytes.len() as u32)?.copy_from_slice(bytes);
            let handed = &mut self.caller.data_mut().call.handed;
            handed.bytes += bytes.len() as u64;
            handed.allocations += 1;
            at
        };
        self.put_u32(pointer, at)?;
        self.put_u32(size, bytes.len() as u32)
    }

    fn allocate(&mut self, size: u32) -> Result<u32, Stop> {
        let mut names = ["proxy_on_memory_allocate", "malloc"].into_iter();
        let allocator = names.find_map(|n| self.caller.get_export(n)?.into_func());
        let Some(allocator) = allocator else {
            let error = wasmtime::format_err!("the module exports no allocator");
            return Err(Stop::Trap(error));
        };
        let mut result = [Val::I32(0)];
        allocator
            .call(&mut *self.caller, &[Val::I32(size as i32)], &mut result)
            .map_err(Stop::Trap)?;
        match result[0].unwrap_i32() {
            0 => Err(Stop::Status(status::INVALID_MEMORY_ACCESS)),
            at => Ok(at as u32),
        }
    }
}

/// Gives a module every function that it imports, or says which one it cannot have.
/// `absent` are the functions that this proxy does not have.
pub(crate) fn link(
    linker: &mut Linker<VmData>,
    module: &wasmtime::Module,
    absent: &[&str],
) -> wasmtime::Result<()> {
    let env: Vec<&Entry> = [
        buffers::FUNCTIONS,
        foreign::FUNCTIONS,
        maps::FUNCTIONS,
        network::FUNCTIONS,
        properties::FUNCTIONS,
        state::FUNCTIONS,
        streams::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
    .collect();
    for import in module.imports() {
        let (space, name) = (import.module(), import.name());
        let ExternType::Func(wanted) = import.ty() else {
            wasmtime::bail!("import {space}.{name} is no function");
        };
        let found = match space {
            "env" if absent.contains(&name) => None,
            "env" => env.iter().find(|e| e.0 == name).copied(),
            "wasi_snapshot_preview1" | "wasi_unstable" => Some(
                wasi::FUNCTIONS
                    .iter()
                    .find(|e| e.0 == name)
                    .unwrap_or(&wasi::OTHER),
            ),
            _ => None,
        };
        let Some(&(known, shape, function)) = found else {
            wasmtime::bail!("the host has no function {space}.{name}");
        };
        let has: String = wanted.params().map(|t| letter(&t)).collect();
        if shape != "*" && has != shape {
            wasmtime::bail!("import {space}.{name} has the shape {has}, not {shape}");
        }
        linker.func_new(space, name, wanted, move |mut caller, args, results| {
            let status = run(&mut caller, known, function, Args(args))?;
            if let Some(result) = results.first_mut() {
                *result = Val::I32(status as i32);
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn letter(ty: &ValType) -> char {
    match ty {
        ValType::I32 => 'i',
        ValType::I64 => 'I',
        _ => '?',
    }
}

/// One host call: counted, replaced if a test wants that, and then made.
fn run(
    caller: &mut Caller<'_, VmData>,
    name: &'static str,
    function: Function,
    args: Args<'_>,
) -> wasmtime::Result<u32> {
    let data = caller.data_mut();
    *data.call.host_calls.entry(name).or_default() += 1;
    let (vm, callback) = (data.vm, data.call.callback);
    let world = data.world();
    let fault = world.count(vm, name, callback);
    if let Some(status) = fault {
        wasmtime::ensure!(
            status != status::TRAP,
            "a trap in {name}, as the test asked"
        );
        return Ok(status);
    }
    let calls = world.profile.calls;
    if calls.unimplemented.contains(&name) {
        return Ok(status::UNIMPLEMENTED);
    }
    if calls.idle.contains(&name) {
        return Ok(status::OK);
    }
    let host = &mut Host { caller, name };
    match function(host, args) {
        Ok(()) => Ok(status::OK),
        Err(Stop::Status(status)) if calls.traps.contains(&name) => {
            host.violate(Wrong::CallTraps);
            Err(wasmtime::format_err!("{name} fails with {status}"))
        }
        Err(Stop::Status(status)) => Ok(status),
        Err(Stop::Trap(error)) => Err(error),
    }
}
