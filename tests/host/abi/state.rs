//! The host calls for shared data, shared queues and metrics. Their rules are in
//! `shared_data.rs` and `metrics.rs`.

use super::{Args, Done, Entry, Host};
use crate::host::{Wrong, status};

pub(super) const FUNCTIONS: &[Entry] = &[
    ("proxy_get_shared_data", "iiiii", get_shared_data),
    ("proxy_set_shared_data", "iiiii", set_shared_data),
    ("proxy_register_shared_queue", "iii", register_queue),
    ("proxy_resolve_shared_queue", "iiiii", resolve_queue),
    ("proxy_enqueue_shared_queue", "iii", enqueue),
    ("proxy_dequeue_shared_queue", "iii", dequeue),
    ("proxy_define_metric", "iiii", define_metric),
    ("proxy_increment_metric", "iI", increment_metric),
    ("proxy_record_metric", "iI", record_metric),
    ("proxy_get_metric", "ii", get_metric),
];

/// Traps if there is no store.
fn store(host: &mut Host<'_, '_>) -> Done {
    match host.world().shared.rules.room {
        0 => Err(host.refuse(Wrong::CallTraps)),
        _ => Ok(()),
    }
}

/// Records what the store did to a filter that relies on it.
fn note(host: &mut Host<'_, '_>) {
    for wrong in std::mem::take(&mut host.world().shared.noted) {
        host.violate(wrong);
    }
}

fn get_shared_data(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    store(host)?;
    let key = host.bytes(args.u(0), args.u(1))?;
    let found = host.world().shared.read(&key);
    note(host);
    let (value, cas) = found.ok_or(status::NOT_FOUND)?;
    host.give(&value, args.u(2), args.u(3))?;
    host.put_u32(args.u(4), cas)
}

fn set_shared_data(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    store(host)?;
    let key = host.bytes(args.u(0), args.u(1))?;
    let value = host.bytes(args.u(2), args.u(3))?;
    let written = host.world().shared.write(&key, &value, args.u(4));
    note(host);
    match written {
        Err(status::TRAP) => Err(host.refuse(Wrong::CallTraps)),
        written => Ok(written?),
    }
}

fn register_queue(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let name = host.bytes(args.u(0), args.u(1))?;
    let data = host.data();
    let owner = (data.vm, data.root());
    let world = host.world();
    let vm_id = world.vm_id.clone();
    let id = world.queues.register(vm_id.as_bytes(), &name, owner);
    host.put_u32(args.u(2), id)
}

fn resolve_queue(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let vm_id = host.bytes(args.u(0), args.u(1))?;
    let name = host.bytes(args.u(2), args.u(3))?;
    let id = host.world().queues.resolve(&vm_id, &name);
    let id = id.ok_or(status::NOT_FOUND)?;
    host.put_u32(args.u(4), id)
}

fn enqueue(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let value = host.bytes(args.u(1), args.u(2))?;
    Ok(host.world().queues.push(args.u(0), value)?)
}

fn dequeue(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let value = host.world().queues.pop(args.u(0))?;
    host.give(&value, args.u(1), args.u(2))
}

fn define_metric(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let name = host.text(args.u(1), args.u(2))?;
    let data = host.data();
    let mut ids = std::mem::take(&mut data.metric_ids);
    let id = data.world().metrics.define(&mut ids, args.u(0), &name);
    data.metric_ids = ids;
    let id = id?;
    host.put_u32(args.u(3), id)
}

fn increment_metric(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let data = host.data();
    let ids = std::mem::take(&mut data.metric_ids);
    let metrics = &mut data.world().metrics;
    let done = metrics.increment(&ids, args.u(0), args.u64(1) as i64);
    data.metric_ids = ids;
    Ok(done?)
}

fn record_metric(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let data = host.data();
    let ids = std::mem::take(&mut data.metric_ids);
    let metrics = &mut data.world().metrics;
    let done = metrics.record(&ids, args.u(0), args.u64(1));
    data.metric_ids = ids;
    Ok(done?)
}

fn get_metric(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let data = host.data();
    let ids = std::mem::take(&mut data.metric_ids);
    let value = data.world().metrics.get(&ids, args.u(0));
    data.metric_ids = ids;
    let value = value?;
    host.put_u64(args.u(1), value)
}
