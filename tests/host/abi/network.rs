//! Callouts: the host calls that send something out.

use std::time::Duration;

use super::{Args, Done, Entry, Host, Stop};
use crate::host::network::Caller;
use crate::host::{Callout, Headers, Stream, Wrong, status};

pub(super) const FUNCTIONS: &[Entry] = &[
    ("proxy_http_call", "iiiiiiiiii", http_call),
    ("proxy_grpc_call", "iiiiiiiiiiii", no_grpc),
    ("proxy_grpc_stream", "iiiiiiiii", no_grpc),
    ("proxy_grpc_send", "iiii", no_grpc),
    ("proxy_grpc_cancel", "i", no_grpc),
    ("proxy_grpc_close", "i", no_grpc),
];

fn http_call(host: &mut Host<'_, '_>, args: Args<'_>) -> Done {
    let cluster = host.text(args.u(0), args.u(1))?;
    let headers = host.bytes(args.u(2), args.u(3))?;
    let headers = Headers::from_abi(&headers).ok_or(status::PARSE_FAILURE)?;
    let body = host.bytes(args.u(4), args.u(5))?;
    let timeout = args.u(8);
    if i32::try_from(timeout).is_err() {
        return Err(Stop::Status(status::BAD_ARGUMENT));
    }
    let text = |name: &str| headers.text(name).unwrap_or_default().to_owned();
    let rules = host.world().profile.callouts;
    let data = host.data();
    let stream = data.stream();
    if rules.ticks_only && data.call.callback == "proxy_on_configure" {
        return Err(host.refuse(Wrong::CalloutFromConfigure));
    }
    if rules.ticks_only && stream.is_some() {
        host.violate(Wrong::CalloutFromRequest);
    }
    if let Some(stream) = stream
        && rules.one
        && host
            .world()
            .network
            .open()
            .any(|c| c.stream == Some(Stream(stream)))
    {
        host.violate(Wrong::SecondCallout);
        return Err(Stop::Status(status::INTERNAL_FAILURE));
    }
    let data = host.data();
    let context = if rules.to_dispatcher {
        data.acting()
    } else {
        data.root()
    };
    let to = Caller {
        vm: data.vm,
        context,
        token: 0,
    };
    let callout = Callout {
        id: 0,
        cluster,
        method: text(":method"),
        path: text(":path"),
        authority: text(":authority"),
        headers,
        body,
        timeout: Duration::from_millis(u64::from(timeout)),
        from: data.vm,
        stream: data.stream().map(Stream),
        at: data.world().clock.now,
    };
    let token = data.world().network.dispatch(callout, to)?;
    let data = host.data();
    data.call.dispatched = true;
    if let Some(stream) = stream {
        data.world().streams[stream].dispatched = true;
    }
    host.put_u32(args.u(9), token)
}

/// This host has no gRPC, and the filter does not use it.
fn no_grpc(_: &mut Host<'_, '_>, _: Args<'_>) -> Done {
    Err(Stop::Status(status::UNIMPLEMENTED))
}
