//! Logging, time, timers and buffers: the host calls that read or write bytes of a
//! message or a configuration, and the small ones around them.

use std::time::Duration;

use super::{Args, Done, Entry, Host, Stop};
use crate::host::clock::Timer;
use crate::host::{Level, Wrong, status};

pub(super) const FUNCTIONS: &[Entry] = &[
    ("proxy_log", "iii", log),
    ("proxy_get_log_level", "i", get_log_level),
    ("proxy_get_current_time_nanoseconds", "i", get_time),
    ("proxy_set_tick_period_milliseconds", "i", set_tick_period),
    ("proxy_get_buffer_bytes", "iiiii", get_buffer),
    ("proxy_get_buffer_status", "iii", get_buffer_status),
    ("proxy_set_buffer_bytes", "iiiii", set_buffer),
    ("proxy_get_status", "iii", get_status),
];

const LEVELS: [Level; 6] = [
    Level::Trace,
    Level::Debug,
    Level::Info,
    Level::Warn,
    Level::Error,
    Level::Critical,
];

fn log(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let level = LEVELS.get(args.u(0) as usize);
    let level = *level.ok_or(status::BAD_ARGUMENT)?;
    let text = host.text(args.u(1), args.u(2))?;
    let vm = host.data().vm;
    host.world().log(vm, level, text);
    Ok(())
}

fn get_log_level(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let level = host.world().log_level as u32;
    host.put_u32(args.u(0), level)
}

fn get_time(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let now = host.world().clock.wall_nanos();
    host.put_u64(args.u(0), now)
}

fn set_tick_period(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let period = Duration::from_millis(u64::from(args.u(0)));
    let now = host.world().clock.now;
    let once = host.world().profile.calls.tick_once;
    let data = host.data();
    let root = data.root();
    match data.ticks.timer(root) {
        Some(Timer::Own) if once => return Err(host.refuse(Wrong::TickSetAgain)),
        Some(Timer::Inherited) if once => {
            data.ticks.add(root, period, now);
            host.violate(Wrong::TimersMultiply);
        }
        _ => data.ticks.set(root, period, now),
    }
    Ok(())
}

/// A whole buffer, if there is one now.
fn buffer<'a>(host: &'a mut Host<'_, '_>, kind: u32) -> Result<&'a mut Vec<u8>, Stop> {
    let data = host.data();
    let none = Stop::Status(status::NOT_FOUND);
    match (kind, data.stream()) {
        (0, Some(s)) => {
            let half = &mut data.world().streams[s].request;
            half.body_open.then_some(&mut half.buffer).ok_or(none)
        }
        (1, Some(s)) => {
            let half = &mut data.world().streams[s].response;
            half.body_open.then_some(&mut half.buffer).ok_or(none)
        }
        (4, _) if data.cut_short => Err(none),
        (4, _) => data.answer.as_mut().map(|(_, body)| body).ok_or(none),
        (6, _) => Ok(&mut data.world().vm_configuration),
        (7, _) => data.configuration.as_mut().ok_or(none),
        _ => Err(none),
    }
}

fn get_buffer(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let (start, most) = (args.u(1), args.u(2));
    let end = start.checked_add(most).ok_or(status::BAD_ARGUMENT)?;
    let whole = buffer(host, args.u(0))?;
    let end = whole.len().min(end as usize);
    let part = whole.get(start as usize..end).unwrap_or(&[]).to_vec();
    host.give(&part, args.u(3), args.u(4))
}

fn get_buffer_status(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let size = buffer(host, args.u(0))?.len() as u32;
    host.put_u32(args.u(1), size)?;
    host.put_u32(args.u(2), 0)
}

fn set_buffer(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let new = host.bytes(args.u(3), args.u(4))?;
    if args.u(0) > 1 {
        return Err(Stop::Status(status::BAD_ARGUMENT));
    }
    let whole = buffer(host, args.u(0))?;
    let start = whole.len().min(args.u(1) as usize);
    let end = whole.len().min(start.saturating_add(args.u(2) as usize));
    whole.splice(start..end, new);
    Ok(())
}

fn get_status(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    host.put_u32(args.u(0), 0)?;
    host.give(&[], args.u(1), args.u(2))
}
