//! nginx with Kong's ngx_wasm_module, isolation `none`.

use super::{Callouts, Calls, Failed, Flow, Maps, Pause, Profile, Shared, Start};

pub(super) const PROFILE: Profile = Profile {
    start: Start {
        canary: false,
        main_vm: false,
        lazy: false,
        revives: true,
        never: &[],
    },
    calls: Calls {
        absent: &["proxy_get_log_level"],
        unimplemented: &[],
        // A root can't act on a request.
        idle: &["proxy_set_effective_context"],
        traps: &[
            "proxy_call_foreign_function",
            "proxy_define_metric",
            "proxy_increment_metric",
            "proxy_record_metric",
            "proxy_get_metric",
        ],
        properties: None,
        variables: true,
        attributes: true,
        tick_once: true,
        log_line: 2048,
    },
    maps: Maps {
        joins: false,
        server_name: Some("kong"),
        decodes: true,
        most: 100,
        most_response: usize::MAX,
        needs_host: false,
        hides: true,
        sets_first: true,
        careless: false,
        lies: false,
    },
    flow: Flow {
        pause: Pause::Forever,
        trap_status: 500,
        trap_details: "",
        traps_open: true,
        body_on_demand: false,
        cuts: false,
        grpc: false,
        empty_body: "",
        hook_of_unseen: false,
    },
    callouts: Callouts {
        per_cluster: usize::MAX,
        port: false,
        to_dispatcher: true,
        ticks_only: true,
        one: false,
        failed: Failed::DispatchStatus,
    },
    shared: Shared {
        by_crc32: true,
        cas_always: true,
        room: 4096,
        evicts: true,
    },
};
