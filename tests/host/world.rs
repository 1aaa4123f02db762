//! What all VMs of a proxy share: the process-wide state, the log, the list of
//! violations, and the counts of host calls. It moves into a VM's store while a callback
//! runs there, and back.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::host::clock::Clock;
use crate::host::metrics::Metrics;
use crate::host::network::Network;
use crate::host::profile::Profile;
use crate::host::shared_data::{Queues, SharedData};
use crate::host::streams::StreamState;
use crate::host::{CallbackCost, HostCall, Level, LogLine, Stream, Violation, Vm, Wrong};

pub(crate) type FaultHook = Box<dyn FnMut(&HostCall) -> Option<u32>>;

/// The process around the VMs.
pub(crate) struct World {
    pub(crate) profile: Profile,
    pub(crate) clock: Clock,
    pub(crate) shared: SharedData,
    pub(crate) queues: Queues,
    pub(crate) metrics: Metrics,
    pub(crate) network: Network,
    pub(crate) random: Random,
    pub(crate) streams: Vec<StreamState>,
    pub(crate) logs: Vec<LogLine>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) costs: Vec<CallbackCost>,
    pub(crate) fault: Option<FaultHook>,
    pub(crate) vm_id: String,
    pub(crate) vm_configuration: Vec<u8>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) log_level: Level,
    /// The nginx variables that are declared.
    pub(crate) variables: Vec<String>,
    /// Properties of nginx are not there.
    pub(crate) hides_itself: bool,
    calls: BTreeMap<(Vm, &'static str), u64>,
}

impl World {
    pub(crate) fn new(profile: Profile, wall: Duration) -> Self {
        Self {
            profile,
            clock: Clock::new(wall),
            shared: SharedData::new(profile.shared),
            queues: Queues::default(),
            metrics: Metrics::default(),
            network: Network::new(profile.callouts),
            random: Random::default(),
            streams: Vec::new(),
            logs: Vec::new(),
            violations: Vec::new(),
            costs: Vec::new(),
            fault: None,
            vm_id: String::new(),
            variables: Vec::new(),
            hides_itself: false,
            vm_configuration: Vec::new(),
            environment: Vec::new(),
            log_level: Level::Info,
            calls: BTreeMap::new(),
        }
    }

    pub(crate) fn log(&mut self, vm: Vm, level: Level, text: impl Into<String>) {
        let mut text = text.into();
        let most = text.floor_char_boundary(self.profile.calls.log_line);
        text.truncate(most);
        self.logs.push(LogLine {
            vm,
            level,
            text,
            at: self.clock.now,
        });
    }

    pub(crate) fn violate(&mut self, wrong: Wrong, vm: Vm, stream: Option<usize>, during: &str) {
        self.violations.push(Violation {
            wrong,
            vm,
            stream: stream.map(Stream),
            during: during.to_owned(),
            at: self.clock.now,
        });
    }

    /// Counts a host call, and asks the fault hook whether to return something else.
    pub(crate) fn count(
        &mut self,
        vm: Vm,
        name: &'static str,
        callback: &'static str,
    ) -> Option<u32> {
        let nth = self.calls.entry((vm, name)).or_default();
        *nth += 1;
        let call = HostCall {
            name,
            vm,
            nth: *nth,
            callback,
        };
        self.fault.as_mut().and_then(|hook| hook(&call))
    }
}

/// A source of bytes that is the same in every run.
#[derive(Default)]
pub(crate) struct Random {
    state: u64,
    pub(crate) drawn: u64,
}

impl Random {
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            // A Weyl sequence, its bits mixed: good enough to look random.
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.state ^ (self.state >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            *byte = (mixed >> 56) as u8;
            self.drawn += 1;
        }
    }
}
