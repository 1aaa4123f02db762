//! Callouts. What may live here: the host calls that send something out.

use std::time::Duration;

use super::{Args, Done, Entry, Host, Stop};
use crate::host::network::Caller;
use crate::host::{Callout, Headers, Stream, status};

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
    let data = host.data();
    let to = Caller {
        vm: data.vm,
        root: data.root(),
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
    host.put_u32(args.u(9), token)
}

/// This host has no gRPC, and the filter no use for it.
fn no_grpc(_: &mut Host<'_, '_>, _: Args<'_>) -> Done {
    Err(Stop::Status(status::UNIMPLEMENTED))
}
