//! The host's calls, as functions that return the host's status as a value. The SDK's own
//! wrappers panic on statuses that hosts really return, such as 12, and on header bytes
//! that are not UTF-8. A panic here is an outage. Besides this file only `wasi` calls the
//! host.
#![allow(
    unsafe_code,
    reason = "raw host calls; every pointer is checked before it is followed"
)]

use std::time::Duration;

use crate::abi::header_map::{HeaderMap, encode_map};
use crate::abi::raw;

/// A status other than 0, as the host's number (proxy-wasm ABI 0.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) u32);

impl Status {
    pub(crate) const NOT_FOUND: Status = Status(1);
    pub(crate) const BAD_ARGUMENT: Status = Status(2);
    /// Kong's status for a header map that is over its limit.
    pub(crate) const SERIALIZATION_FAILURE: Status = Status(3);
    pub(crate) const PARSE_FAILURE: Status = Status(4);
    pub(crate) const CAS_MISMATCH: Status = Status(8);
    /// A call cannot be made inside another call.
    pub(crate) const INTERNAL_FAILURE: Status = Status(10);
    pub(crate) const UNIMPLEMENTED: Status = Status(12);
}

/// A header map, by the ABI's number.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum MapType {
    RequestHeaders = 0,
    RequestTrailers = 1,
    ResponseHeaders = 2,
    CallResponseHeaders = 6,
}

/// A buffer, by the ABI's number.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum BufferType {
    RequestBody = 0,
    ResponseBody = 1,
    CallResponseBody = 4,
    PluginConfiguration = 7,
}

/// A log level, by the ABI's number.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum LogLevel {
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
    Critical = 5,
}

/// A metric's kind, by the ABI's number.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum MetricType {
    Counter = 0,
    Gauge = 1,
    Histogram = 2,
}

fn status(number: u32) -> Result<(), Status> {
    if number == 0 {
        Ok(())
    } else {
        Err(Status(number))
    }
}

/// Takes over bytes that the host allocated in this VM's memory. The host allocates with
/// the SDK's `proxy_on_memory_allocate`, which makes a `Vec` of this capacity.
fn take_allocation(data: *mut u8, size: usize) -> Vec<u8> {
    if data.is_null() || size == 0 {
        return Vec::new();
    }
    // SAFETY: the host wrote `size` bytes to a fresh allocation of that size and
    // gives it away; nothing else refers to it.
    unsafe { Vec::from_raw_parts(data, size, size) }
}

/// Writes a line to the proxy's log. A failure of this call cannot be reported anywhere.
#[inline(never)]
pub(crate) fn log(level: LogLevel, message: &str) {
    // SAFETY: the pointer and length are of a live string.
    let _ = unsafe { raw::proxy_log(level as u32, message.as_ptr(), message.len()) };
}

pub(crate) fn set_tick_period(period: Duration) -> Result<(), Status> {
    let period = u32::try_from(period.as_millis()).unwrap_or(u32::MAX);
    // SAFETY: no pointers.
    status(unsafe { raw::proxy_set_tick_period_milliseconds(period) })
}

/// Reads at most `max` bytes of a buffer. A buffer that does not exist has none.
pub(crate) fn get_buffer(buffer: BufferType, max: usize) -> Result<Vec<u8>, Status> {
    get_buffer_part(buffer, 0, max)
}

/// The same from an offset on.
pub(crate) fn get_buffer_part(
    buffer: BufferType,
    start: usize,
    max: usize,
) -> Result<Vec<u8>, Status> {
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: both out-pointers are live.
    let result = unsafe {
        raw::proxy_get_buffer_bytes(buffer as u32, start, max, &raw mut data, &raw mut size)
    };
    match status(result) {
        Ok(()) => Ok(take_allocation(data, size)),
        Err(Status::NOT_FOUND) => Ok(Vec::new()),
        Err(failed) => Err(failed),
    }
}

/// Puts bytes in the place of a buffer that has `size` bytes, all of them. Envoy can replace
/// no part.
pub(crate) fn replace_buffer(buffer: BufferType, size: usize, bytes: &[u8]) -> Result<(), Status> {
    // SAFETY: the pointer and length are of a live slice.
    status(unsafe {
        raw::proxy_set_buffer_bytes(buffer as u32, 0, size, bytes.as_ptr(), bytes.len())
    })
}

/// Reads all headers, in order, with their values as they came.
pub(crate) fn get_map(map: MapType) -> Result<HeaderMap, Status> {
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: both out-pointers are live.
    let result =
        unsafe { raw::proxy_get_header_map_pairs(map as u32, &raw mut data, &raw mut size) };
    status(result)?;
    // A map that cannot be read counts as a failed call.
    HeaderMap::new(take_allocation(data, size)).ok_or(Status::PARSE_FAILURE)
}

/// Reads the value of one header; `None` if it is absent.
pub(crate) fn get_map_value(map: MapType, name: &str) -> Result<Option<Vec<u8>>, Status> {
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the name is a live string, both out-pointers are live.
    let result = unsafe {
        raw::proxy_get_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            &raw mut data,
            &raw mut size,
        )
    };
    match status(result) {
        Ok(()) if data.is_null() => Ok(None),
        Ok(()) => Ok(Some(take_allocation(data, size))),
        Err(Status::NOT_FOUND) => Ok(None),
        Err(failed) => Err(failed),
    }
}

/// Adds a header, and keeps others of the same name. On Envoy this costs half as much as
/// replacing, which indexes the whole map.
pub(crate) fn add_request_header(name: &[u8], value: &[u8]) -> Result<(), Status> {
    // SAFETY: pointers and lengths are of live slices.
    status(unsafe {
        raw::proxy_add_header_map_value(
            MapType::RequestHeaders as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Overwrites a header, or adds it. If several have the same name, Kong changes only the
/// first.
pub(crate) fn replace_request_header(name: &[u8], value: &[u8]) -> Result<(), Status> {
    replace_map_value(MapType::RequestHeaders, name, value)
}

/// Overwrites a value of any map, or adds it.
pub(crate) fn replace_map_value(map: MapType, name: &[u8], value: &[u8]) -> Result<(), Status> {
    // SAFETY: pointers and lengths are of live slices.
    status(unsafe {
        raw::proxy_replace_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Removes every header with a name.
pub(crate) fn remove_map_value(map: MapType, name: &[u8]) -> Result<(), Status> {
    // SAFETY: the pointer and length are of a live slice.
    status(unsafe { raw::proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// A value in shared data, and the number of its version.
#[derive(Debug, Clone)]
pub(crate) struct SharedValue {
    pub(crate) value: Vec<u8>,
    pub(crate) cas: u32,
}

/// `None` if the key was never written.
pub(crate) fn get_shared_data(key: &str) -> Result<Option<SharedValue>, Status> {
    let (mut data, mut size, mut cas) = (std::ptr::null_mut(), 0, 0);
    // SAFETY: the key is a live string, the out-pointers are live.
    let result = unsafe {
        raw::proxy_get_shared_data(
            key.as_ptr(),
            key.len(),
            &raw mut data,
            &raw mut size,
            &raw mut cas,
        )
    };
    match status(result) {
        Ok(()) => Ok(Some(SharedValue {
            value: take_allocation(data, size),
            cas,
        })),
        Err(Status::NOT_FOUND) => Ok(None),
        Err(failed) => Err(failed),
    }
}

/// Writes if the key's version is still `cas`. Returns `false` if it has changed.
pub(crate) fn set_shared_data(key: &str, value: &[u8], cas: u32) -> Result<bool, Status> {
    // SAFETY: pointers and lengths are of live slices.
    let result = unsafe {
        raw::proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas)
    };
    match status(result) {
        Ok(()) => Ok(true),
        Err(Status::CAS_MISMATCH) => Ok(false),
        Err(failed) => Err(failed),
    }
}

/// Reads a property of the request; `None` if the host does not have it.
pub(crate) fn get_property(name: &str) -> Result<Option<Vec<u8>>, Status> {
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the name is a live string, both out-pointers are live.
    let result =
        unsafe { raw::proxy_get_property(name.as_ptr(), name.len(), &raw mut data, &raw mut size) };
    match status(result) {
        Ok(()) if data.is_null() => Ok(None),
        Ok(()) => Ok(Some(take_allocation(data, size))),
        Err(Status::NOT_FOUND) => Ok(None),
        Err(failed) => Err(failed),
    }
}

/// Sets a property. A name with one segment is filter state on Envoy, which access logs
/// can read, and an nginx variable on APISIX. On Kong a variable has two segments, `ngx`
/// and its name, separated by a NUL.
pub(crate) fn set_property(name: &str, value: &[u8]) -> Result<(), Status> {
    // SAFETY: pointers and lengths are of live slices.
    status(unsafe {
        raw::proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Replies to the request of the effective context. `grpc_status` is for gRPC requests
/// only.
pub(crate) fn send_local_response(
    http_status: u16,
    details: &str,
    headers: &[(&str, String)],
    body: &[u8],
    grpc_status: Option<u8>,
) -> Result<(), Status> {
    let headers = encode_map(headers).ok_or(Status::BAD_ARGUMENT)?;
    // SAFETY: pointers and lengths are of live slices.
    status(unsafe {
        raw::proxy_send_local_response(
            u32::from(http_status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status.map_or(-1, i32::from),
        )
    })
}

/// Lets the request of the effective context continue to the upstream.
pub(crate) fn resume_http_request() -> Result<(), Status> {
    // SAFETY: no pointers.
    status(unsafe { raw::proxy_continue_stream(0) })
}

pub(crate) fn set_effective_context(context: u32) -> Result<(), Status> {
    // SAFETY: no pointers.
    status(unsafe { raw::proxy_set_effective_context(context) })
}

/// Sends a request to an upstream that the host knows, and returns a token. The response
/// arrives in `exports`.
#[inline(never)]
pub(crate) fn dispatch_http_call(
    upstream: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    timeout: Duration,
) -> Result<u32, Status> {
    let headers = encode_map(headers).ok_or(Status::BAD_ARGUMENT)?;
    let trailers = encode_map::<&str>(&[]).ok_or(Status::BAD_ARGUMENT)?;
    let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    let mut token = 0;
    // SAFETY: pointers and lengths are of live slices, the out-pointer is live.
    status(unsafe {
        raw::proxy_http_call(
            upstream.as_ptr(),
            upstream.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            trailers.as_ptr(),
            trailers.len(),
            timeout_ms,
            &raw mut token,
        )
    })?;
    Ok(token)
}

/// Calls a function that only some hosts have.
pub(crate) fn call_foreign_function(name: &str, argument: &[u8]) -> Result<Vec<u8>, Status> {
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: pointers and lengths are of live slices, both out-pointers are live.
    status(unsafe {
        raw::proxy_call_foreign_function(
            name.as_ptr(),
            name.len(),
            argument.as_ptr(),
            argument.len(),
            &raw mut data,
            &raw mut size,
        )
    })?;
    Ok(take_allocation(data, size))
}

pub(crate) fn define_metric(kind: MetricType, name: &str) -> Result<u32, Status> {
    let mut id = 0;
    // SAFETY: the name is a live string, the out-pointer is live.
    status(unsafe {
        raw::proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id)
    })?;
    Ok(id)
}

pub(crate) fn increment_metric(id: u32, by: i64) -> Result<(), Status> {
    // SAFETY: no pointers.
    status(unsafe { raw::proxy_increment_metric(id, by) })
}

pub(crate) fn record_metric(id: u32, value: u64) -> Result<(), Status> {
    // SAFETY: no pointers.
    status(unsafe { raw::proxy_record_metric(id, value) })
}
