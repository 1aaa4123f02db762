//! nginx with APISIX's wasm-nginx-module 0.7.0.

use super::{Callouts, Calls, Failed, Flow, Maps, Pause, Profile, Shared, Start};

pub(super) const PROFILE: Profile = Profile {
    start: Start {
        canary: false,
        main_vm: false,
        lazy: true,
        revives: false,
        never: &["proxy_on_vm_start", "proxy_on_tick", "proxy_on_log"],
    },
    calls: Calls {
        absent: &[
            "proxy_get_log_level",
            "proxy_get_metric",
            "proxy_get_buffer_status",
            "proxy_get_header_map_size",
        ],
        unimplemented: &[
            "proxy_get_current_time_nanoseconds",
            "proxy_set_tick_period_milliseconds",
            "proxy_get_shared_data",
            "proxy_set_shared_data",
            "proxy_register_shared_queue",
            "proxy_resolve_shared_queue",
            "proxy_enqueue_shared_queue",
            "proxy_dequeue_shared_queue",
            "proxy_call_foreign_function",
            // Bodies are read-only.
            "proxy_set_buffer_bytes",
        ],
        idle: &[
            "proxy_define_metric",
            "proxy_increment_metric",
            "proxy_record_metric",
        ],
        traps: &[],
        properties: Some(&["wasm_process_req_body", "wasm_process_resp_body"]),
        variables: false,
        attributes: false,
        tick_once: false,
        log_line: usize::MAX,
    },
    maps: Maps {
        joins: false,
        server_name: None,
        decodes: false,
        most: 100,
        most_response: 20,
        needs_host: true,
        hides: false,
        sets_first: false,
        careless: true,
        lies: true,
    },
    flow: Flow {
        pause: Pause::Kills,
        trap_status: 503,
        trap_details: "",
        traps_open: true,
        body_on_demand: true,
        cuts: false,
        grpc: false,
        empty_body: "<html><body>nginx</body></html>",
        hook_of_unseen: true,
    },
    callouts: Callouts {
        per_cluster: usize::MAX,
        port: true,
        to_dispatcher: true,
        ticks_only: false,
        one: true,
        failed: Failed::Nothing,
    },
    shared: Shared {
        by_crc32: false,
        cas_always: false,
        room: 0,
        evicts: false,
    },
};
