//! The WASI imports that a filter gets. The test controls every source. The errors are
//! WASI's numbers.

use super::{Args, Done, Entry, Host, Stop};
use crate::host::Level;

pub(super) const FUNCTIONS: &[Entry] = &[
    ("clock_time_get", "iIi", clock_time_get),
    ("environ_sizes_get", "ii", environ_sizes_get),
    ("environ_get", "ii", environ_get),
    ("args_sizes_get", "ii", args_sizes_get),
    ("args_get", "ii", nothing),
    ("fd_write", "iiii", fd_write),
    ("random_get", "ii", random_get),
    ("proc_exit", "i", proc_exit),
    ("sched_yield", "", nothing),
];

/// Everything else does not exist.
pub(super) const OTHER: Entry = ("wasi_other", "*", not_there);

const INVALID: u32 = 28;
const BAD_FILE: u32 = 8;
const NO_SYSTEM_CALL: u32 = 52;

fn clock_time_get(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let clock = &host.world().clock;
    let now = match args.u(0) {
        0 => clock.wall_nanos(),
        1 => clock.monotonic_nanos(),
        _ => return Err(Stop::Status(INVALID)),
    };
    host.put_u64(args.u(2), now)
}

fn variables(host: &mut Host<'_, '_>) -> Vec<String> {
    let all = host.world().environment.iter();
    all.map(|(name, value)| format!("{name}={value}\0"))
        .collect()
}

fn environ_sizes_get(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let all = variables(host);
    let size: usize = all.iter().map(String::len).sum();
    host.put_u32(args.u(0), all.len() as u32)?;
    host.put_u32(args.u(1), size as u32)
}

fn environ_get(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let (mut list, mut at) = (args.u(0), args.u(1));
    for variable in variables(host) {
        let size = variable.len() as u32;
        host.put_u32(list, at)?;
        host.slice(at, size)?.copy_from_slice(variable.as_bytes());
        list += 4;
        at += size;
    }
    Ok(())
}

fn args_sizes_get(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    host.put_u32(args.u(0), 0)?;
    host.put_u32(args.u(1), 0)
}

/// Standard output and error become log lines.
fn fd_write(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let level = match args.u(0) {
        1 => Level::Info,
        2 => Level::Error,
        _ => return Err(Stop::Status(BAD_FILE)),
    };
    let mut text = Vec::new();
    for i in 0..args.u(2) {
        let place = host.bytes(args.u(1).wrapping_add(8 * i), 8)?;
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| place[at + i]));
        text.extend(host.bytes(word(0), word(4))?);
    }
    host.put_u32(args.u(3), text.len() as u32)?;
    let line = String::from_utf8_lossy(&text);
    let line = line.trim_end_matches('\n');
    let vm = host.data().vm;
    if !line.is_empty() {
        host.world().log(vm, level, line);
    }
    Ok(())
}

fn random_get(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let mut bytes = host.bytes(args.u(0), args.u(1))?;
    host.world().random.fill(&mut bytes);
    host.slice(args.u(0), args.u(1))?.copy_from_slice(&bytes);
    Ok(())
}

fn proc_exit(_: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let error = wasmtime::format_err!("the module exits with {}", args.u(0));
    Err(Stop::Trap(error))
}

fn nothing(_: &mut Host<'_, '_>, _: Args<'_>) -> Done {
    Ok(())
}

fn not_there(_: &mut Host<'_, '_>, _: Args<'_>) -> Done {
    Err(Stop::Status(NO_SYSTEM_CALL))
}
