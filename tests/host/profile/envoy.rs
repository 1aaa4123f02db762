//! Envoy 1.40.

use super::{Callouts, Calls, Failed, Flow, Maps, Pause, Profile, Shared, Start};

pub(super) const PROFILE: Profile = Profile {
    start: Start {
        canary: true,
        main_vm: true,
        lazy: false,
        revives: false,
        never: &[],
    },
    calls: Calls {
        absent: &[],
        unimplemented: &[],
        idle: &[],
        traps: &[],
        properties: None,
        variables: false,
        attributes: true,
        tick_once: false,
        log_line: usize::MAX,
    },
    maps: Maps {
        joins: true,
        server_name: None,
        decodes: false,
        most: usize::MAX,
        most_response: usize::MAX,
        needs_host: false,
        hides: false,
        sets_first: false,
        careless: false,
        lies: false,
    },
    flow: Flow {
        pause: Pause::Holds,
        trap_status: 503,
        trap_details: "wasm_fail_stream",
        traps_open: false,
        body_on_demand: false,
        cuts: true,
        grpc: true,
        empty_body: "",
        hook_of_unseen: false,
    },
    callouts: Callouts {
        per_cluster: 1024,
        port: false,
        to_dispatcher: false,
        ticks_only: false,
        one: false,
        failed: Failed::Status,
    },
    shared: Shared {
        by_crc32: false,
        cas_always: false,
        room: usize::MAX,
        evicts: false,
    },
};
