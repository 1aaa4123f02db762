//! A proxy-wasm filter that lets everything through: the cost of being in the proxy
//! at all. Configured with `calls` it also makes the host calls that the real filter
//! makes for a mandate it knows, with constants, and nothing else: the cost of what
//! the upstream and the access log are told, which no code can go below.
#![allow(
    unsafe_code,
    reason = "raw host calls, as in the filter; nothing else is measured"
)]

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
}

/// What the real filter sends by default, with values as long as the benchmark's.
const HEADERS: [(&str, &str); 11] = [
    ("x-caracal-client-id", "app-1"),
    ("x-caracal-delegation-id", "delegation-1"),
    ("x-caracal-hop-count", "1"),
    ("x-caracal-jti", "jti-1"),
    ("x-caracal-scope", "billing:read"),
    ("x-caracal-session-id", "agent-session-1"),
    ("x-caracal-sid", "sid-1"),
    ("x-caracal-sub", "user-1"),
    ("x-caracal-sub-type", "user"),
    ("x-caracal-use", "resource"),
    ("x-caracal-zone-id", "zone-1"),
];
const FILTER_STATE: [(&str, &str); 4] = [
    ("caracal_decision", "admitted"),
    ("caracal_subject_fingerprint", "0123456789abcdef"),
    ("caracal_client_id", "app-1"),
    ("caracal_jti", "jti-1"),
];

struct Root {
    calls: bool,
}

struct Noop {
    calls: bool,
}

impl Context for Noop {}

impl HttpContext for Noop {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        if self.calls {
            make_calls();
        }
        Action::Continue
    }
}

fn make_calls() {
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: pointers and lengths are of live values; what the host allocated by the
    // SDK's allocator is a `Vec` of that capacity.
    unsafe {
        proxy_get_header_map_pairs(0, &raw mut data, &raw mut size);
        drop(Vec::from_raw_parts(data, size, size));
        for (name, value) in HEADERS {
            proxy_add_header_map_value(0, name.as_ptr(), name.len(), value.as_ptr(), value.len());
        }
        for (name, value) in FILTER_STATE {
            proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len());
        }
    }
    let _ = std::time::Instant::now();
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        self.calls = self.get_plugin_configuration().as_deref() == Some(b"\"calls\"");
        true
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Noop { calls: self.calls }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root { calls: false }));
}}
