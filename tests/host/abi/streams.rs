//! Contexts and streams: the host calls that switch, resume, reply and close. They note
//! what will happen. It happens when the callback has ended, in `flow.rs`.

use super::{Args, Done, Entry, Host, Stop};
use crate::host::streams::Way;
use crate::host::vm::{Deferred, LocalReply};
use crate::host::{Headers, Wrong, status};

pub(super) const FUNCTIONS: &[Entry] = &[
    ("proxy_set_effective_context", "i", set_effective_context),
    ("proxy_send_local_response", "iiiiiiii", send_local_response),
    ("proxy_continue_stream", "i", continue_stream),
    ("proxy_continue_request", "", continue_request),
    ("proxy_continue_response", "", continue_response),
    ("proxy_close_stream", "i", close_stream),
    ("proxy_clear_route_cache", "", nothing),
    ("proxy_done", "", nothing),
];

fn set_effective_context(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let data = host.data();
    let id = args.u(0);
    // 0 is the VM's own context: it switches back.
    if id != 0 && !data.contexts.contains_key(&id) {
        return Err(Stop::Status(status::BAD_ARGUMENT));
    }
    data.call.effective = id;
    Ok(())
}

fn send_local_response(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let details = host.text(args.u(1), args.u(2))?;
    let body = host.bytes(args.u(3), args.u(4))?;
    let headers = host.bytes(args.u(5), args.u(6))?;
    let headers = Headers::from_abi(&headers).ok_or(status::BAD_ARGUMENT)?;
    let grpc_status = (args.u(7) <= 16).then_some(args.u(7));
    let Some(stream) = host.data().stream() else {
        host.violate(Wrong::NoStream);
        return Ok(());
    };
    let s = &mut host.world().streams[stream];
    let (replied, resumed) = (s.reply_queued || s.local, s.resume_queued);
    s.reply_queued = true;
    if replied {
        s.hung = true;
        host.violate(Wrong::SecondReply);
        return Ok(());
    }
    if resumed {
        host.violate(Wrong::ReplyAfterResume);
    }
    let reply = LocalReply {
        status: args.u(0),
        details,
        body,
        headers,
        grpc_status,
    };
    host.data().deferred.push(Deferred::Reply(stream, reply));
    Ok(())
}

fn continue_stream(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    match args.u(0) {
        0 => resume(host, Way::Request),
        1 => resume(host, Way::Response),
        _ => Err(Stop::Status(status::BAD_ARGUMENT)),
    }
}

fn continue_request(host: &mut Host<'_, '_>, _: Args<'_>) -> Done {
    resume(host, Way::Request)
}

fn continue_response(host: &mut Host<'_, '_>, _: Args<'_>) -> Done {
    resume(host, Way::Response)
}

fn resume(host: &mut Host<'_, '_>, way: Way) -> Done {
    let Some(stream) = host.data().stream() else {
        host.violate(Wrong::NoStream);
        return Ok(());
    };
    let s = &mut host.world().streams[stream];
    let replied = s.reply_queued;
    s.resume_queued = true;
    // From here on the filter cannot reach the request any more.
    s.request.headers_open = false;
    s.request.body_open = false;
    s.request.trailers_open = false;
    if replied && way == Way::Request {
        host.violate(Wrong::ResumedAfterReply);
    }
    host.data().deferred.push(Deferred::Resume(stream, way));
    Ok(())
}

fn close_stream(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    if args.u(0) > 3 {
        return Err(Stop::Status(status::BAD_ARGUMENT));
    }
    if args.u(0) > 1 || !host.world().profile.flow.cuts {
        host.violate(Wrong::CloseIgnored);
        return Ok(());
    }
    match host.data().stream() {
        Some(stream) => host.data().deferred.push(Deferred::Close(stream)),
        None => host.violate(Wrong::NoStream),
    }
    Ok(())
}

/// Accepted, without a visible effect.
fn nothing(_: &mut Host<'_, '_>, _: Args<'_>) -> Done {
    Ok(())
}
