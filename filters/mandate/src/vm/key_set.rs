//! The key set with which this VM decides, and this VM's part in fetching it. All VMs
//! share one record. The VM that holds the lease in it fetches for all.

use std::borrow::Cow;
use std::time::Duration;

use caracal_mandate::config::{AcceptedZone, Configuration};
use caracal_mandate::fetch_failure::Kind;
use caracal_mandate::jwks::algorithm::Algorithm;
use caracal_mandate::jwks::key_set::KeySet;
use caracal_mandate::jwks::refresh::{Control, Fetch, FetchTiming};

use crate::abi::hostcalls::{self, LogLevel, Status};
use crate::abi::wasi;
use crate::proxy::Proxy;
use crate::proxy::callout::{CalloutFailure, CalloutResult};
use crate::vm::callouts::{StsClient, expect_document};
use crate::vm::dependency_log;
use crate::vm::key_set_store::{KeySetStore, StoredKeySet};
use crate::vm::metrics::Metrics;
use crate::vm::pending_fetch::PendingFetch;

/// How often the shared record is written again if another VM writes it too.
const WRITE_ATTEMPTS: usize = 4;
/// A damaged copy in shared data is replaced if the key set is older than this.
const REPLACE_DAMAGED_AFTER_MS: u64 = 1_000;

/// A key set, and the shared record that it came with.
struct CurrentKeySet {
    record: Control,
    keys: KeySet,
}

/// The key set of one zone of a configuration in this VM.
pub(crate) struct KeySetCache {
    /// The zone's id, if there are several.
    zone: Option<String>,
    /// What log lines call the key set.
    name: Cow<'static, str>,
    store: KeySetStore,
    sts: StsClient,
    timing: FetchTiming,
    algorithms: Vec<Algorithm>,
    /// The shared record when it was last read.
    pub(crate) record: Control,
    current: Option<CurrentKeySet>,
    /// The key set in shared data is not what was written there.
    stored_copy_damaged: bool,
    /// A request that could not wait had a `kid` that is not in the key set.
    pub(crate) unknown_kid_seen: bool,
    /// How many key sets this VM has taken.
    pub(crate) installed: u64,
    pending_fetch: Option<PendingFetch>,
    /// When a request last waited for a newer key set for as long as the STS may take.
    pub(crate) full_wait_ms: u64,
    /// The log already says that shared data cannot be read.
    shared_data_failed: bool,
}

impl KeySetCache {
    #[cold]
    pub(crate) fn new(
        configuration: &Configuration,
        accepted: &AcceptedZone,
        zone: Option<String>,
    ) -> Self {
        let jwks = &accepted.jwks;
        KeySetCache {
            name: match &zone {
                Some(zone) => format!("key set of zone {zone}").into(),
                None => "key set".into(),
            },
            zone,
            store: KeySetStore::new(configuration, accepted),
            sts: StsClient::new(accepted),
            timing: FetchTiming {
                timeout_ms: jwks.timeout_ms,
                ttl_ms: jwks.ttl_s.saturating_mul(1_000),
                max_stale_ms: jwks.max_stale_s.saturating_mul(1_000),
                retry_ms: Proxy::of(configuration).capabilities().fetch_retry_ms,
            },
            algorithms: configuration.algorithms.clone(),
            record: Control::default(),
            current: None,
            stored_copy_damaged: false,
            unknown_kid_seen: false,
            installed: 0,
            pending_fetch: None,
            full_wait_ms: 0,
            shared_data_failed: false,
        }
    }

    /// Reads the shared record, and the key set if it has changed. So a new VM gets its
    /// keys.
    pub(crate) fn load_shared(&mut self) {
        match self.read_shared() {
            Ok(()) => self.shared_data_failed = false,
            Err(Status(status)) => {
                // Logged once, and not at every tick. The next success resets this.
                if !std::mem::replace(&mut self.shared_data_failed, true) {
                    hostcalls::log(
                        LogLevel::Error,
                        &format!("caracal: shared data cannot be read (status {status})"),
                    );
                }
            }
        }
    }

    fn read_shared(&mut self) -> Result<(), Status> {
        let attempts = self.record.attempts;
        (self.record, _) = self.store.control()?;
        // A fetch by any VM also answers this VM's wish for a key.
        self.unknown_kid_seen &= self.record.attempts == attempts;
        let current = self.current_id();
        // Without an id the record was lost. The key set that this VM holds gets older.
        let Some(id) = self.record.key_set_id().filter(|id| Some(*id) != current) else {
            return Ok(());
        };
        match self.store.key_set(id)? {
            StoredKeySet::Document(document) => match KeySet::parse(&document, &self.algorithms) {
                Ok(keys) => self.install(keys),
                Err(_) => self.stored_copy_damaged = true,
            },
            // Another VM is writing it, or began to write and is gone.
            StoredKeySet::OtherGeneration => {
                self.stored_copy_damaged |=
                    wasi::monotonic_ms().is_none_or(|now_ms| !self.record.is_leased(now_ms));
            }
            StoredKeySet::Damaged => self.stored_copy_damaged = true,
        }
        Ok(())
    }

    fn install(&mut self, keys: KeySet) {
        self.stored_copy_damaged = false;
        self.installed = self.installed.saturating_add(1);
        self.current = Some(CurrentKeySet {
            record: self.record,
            keys,
        });
    }

    /// The key set, unless there is none or it is too old.
    pub(crate) fn usable(&self, now_ms: u64) -> Option<&KeySet> {
        let usable = self
            .current
            .as_ref()
            .filter(|current| current.record.is_usable(now_ms, self.timing));
        usable.map(|current| &current.keys)
    }

    /// Names the key set with which this VM decides.
    pub(crate) fn current_id(&self) -> Option<(u64, u64)> {
        self.current
            .as_ref()
            .and_then(|current| current.record.key_set_id())
    }

    /// Whether the key set is older than its time to live, or will soon be too old to use.
    pub(crate) fn is_past_ttl(&self, now_ms: u64) -> bool {
        let current = self.current.as_ref();
        let age = current.and_then(|current| current.record.age_ms(now_ms));
        let longest = self.timing.ttl_ms.saturating_add(self.timing.max_stale_ms);
        let soon = longest.saturating_mul(4) / 5;
        age.is_some_and(|age| age > self.timing.ttl_ms.min(soon))
    }

    /// Takes the lease for a fetch if one is due. The caller makes the callout, and
    /// reports its end with [`KeySetCache::on_fetch_response`].
    pub(crate) fn begin_fetch(&mut self, unknown_kid: bool, now_ms: u64) -> Option<PendingFetch> {
        let age_ms = self.record.age_ms(now_ms);
        let is_old = age_ms.is_some_and(|age_ms| age_ms > REPLACE_DAMAGED_AFTER_MS);
        self.begin_fetch_anyway(self.stored_copy_damaged && is_old, unknown_kid, now_ms)
    }

    /// The same. With `anyway` it fetches even if none is due, unless another VM is
    /// fetching.
    pub(crate) fn begin_fetch_anyway(
        &mut self,
        anyway: bool,
        unknown_kid: bool,
        now_ms: u64,
    ) -> Option<PendingFetch> {
        let is_due = anyway || self.record.due(now_ms, unknown_kid).is_some();
        if !is_due || self.store.spares_sts(now_ms) {
            return None;
        }
        // Read the record again to get its version for the write.
        let Ok((control, cas)) = self.store.control() else {
            return None;
        };
        let fetch = match control.due(now_ms, unknown_kid) {
            Some(fetch) => fetch,
            None if anyway && !control.is_leased(now_ms) => Fetch::Scheduled,
            None => return None,
        };
        let (leased, lease) = control.leased(fetch, now_ms, self.timing);
        match self.store.write_control(&leased, cas) {
            Ok(true) => {
                self.record = leased;
                self.store.begun_ms = Some(now_ms);
                self.unknown_kid_seen = false;
                Some(PendingFetch {
                    lease: Some(lease),
                    started_ms: now_ms,
                    token: None,
                })
            }
            // Another VM was faster, and fetches for this one too.
            Ok(false) | Err(_) => None,
        }
    }

    /// Fetches the key set if that is due, and returns whether it was. Called in a tick.
    pub(crate) fn fetch_if_due(
        &mut self,
        unknown_kid: bool,
        metrics: &mut Metrics,
        now_ms: u64,
    ) -> bool {
        let unknown_kid = self.unknown_kid_seen || unknown_kid;
        let Some(mut pending_fetch) = self.begin_fetch(unknown_kid, now_ms) else {
            return false;
        };
        match self.sts.key_set(None) {
            Ok(token) => {
                pending_fetch.token = Some(token);
                self.pending_fetch = Some(pending_fetch);
            }
            Err(_) if self.retry_dispatch(&pending_fetch, now_ms) => {}
            Err(_) => self.on_fetch_response(
                &pending_fetch,
                Err(CalloutFailure::dispatch_failed()),
                metrics,
                now_ms,
            ),
        }
        true
    }

    /// Sends a request to the STS, and returns the token of the callout. None if the
    /// proxy does not accept it. `at_most` is a shorter timeout than the configured one.
    pub(crate) fn dispatch(
        &mut self,
        pending_fetch: &PendingFetch,
        at_most: Option<Duration>,
        metrics: &mut Metrics,
        now_ms: u64,
    ) -> Option<u32> {
        let token = self.sts.key_set(at_most).ok();
        if token.is_none() {
            let failure = Err(CalloutFailure::dispatch_failed());
            self.on_fetch_response(pending_fetch, failure, metrics, now_ms);
        }
        token
    }

    /// Lets a later tick repeat a callout that the proxy did not accept. False if it was
    /// tried often enough.
    #[cold]
    fn retry_dispatch(&mut self, pending_fetch: &PendingFetch, now_ms: u64) -> bool {
        for _ in 0..WRITE_ATTEMPTS {
            let Ok((control, cas)) = self.store.control() else {
                return false;
            };
            if !pending_fetch
                .lease
                .is_some_and(|lease| control.holds(lease))
            {
                // Another VM took over, and fetches.
                return true;
            }
            let Some(next) = control.again(now_ms) else {
                return false;
            };
            if self.store.write_control(&next, cas) == Ok(true) {
                self.record = next;
                return true;
            }
        }
        false
    }

    /// Logs when requests begin or stop to be refused for lack of a key set. Only the VM
    /// that writes this into the shared record logs it.
    pub(crate) fn report_turn(&mut self, now_ms: u64) {
        if self.record.turned(now_ms, self.timing).is_some() {
            self.write_turn(now_ms);
        }
    }

    #[cold]
    fn write_turn(&mut self, now_ms: u64) {
        let Ok((control, cas)) = self.store.control() else {
            return;
        };
        let Some((next, turn)) = control.turned(now_ms, self.timing) else {
            return;
        };
        if self.store.write_control(&next, cas) != Ok(true) {
            return;
        }
        self.record = next;
        dependency_log::key_set_turn(
            turn,
            &self.name,
            &self.sts.upstream,
            &next,
            self.timing,
            now_ms,
        );
    }

    /// The fetch of a response. None if it is late and this VM has lost the lease since.
    pub(crate) fn take_fetch(&mut self, token: u32) -> Option<PendingFetch> {
        self.pending_fetch
            .take_if(|pending_fetch| pending_fetch.token == Some(token))
    }

    /// A fetch has ended, with a document or with a failure.
    pub(crate) fn on_fetch_response(
        &mut self,
        pending_fetch: &PendingFetch,
        response: CalloutResult,
        metrics: &mut Metrics,
        now_ms: u64,
    ) {
        let parsed = expect_document(response).and_then(|document| {
            match KeySet::parse(&document, &self.algorithms) {
                Ok(keys) => Ok((document, keys)),
                Err(why) => Err(CalloutFailure::new(Kind::Unreadable, why.to_string())),
            }
        });
        // The key that was wanted meanwhile is there now, or will be asked for again.
        self.unknown_kid_seen = false;
        let result = if parsed.is_ok() { "ok" } else { "error" };
        metrics.jwks_fetch(self.zone.as_deref(), result);
        for _ in 0..WRITE_ATTEMPTS {
            let (Ok(version), Ok((control, cas))) =
                (self.store.key_set_version(), self.store.control())
            else {
                return;
            };
            let began_ms = pending_fetch.started_ms;
            let counts = match pending_fetch.lease {
                Some(lease) => self.store.may_write(&control, lease, began_ms),
                // Use it if there is no usable key set, or only an older one.
                None => {
                    parsed.is_ok()
                        && (!control.is_usable(now_ms, self.timing)
                            || control.is_older_than(began_ms))
                }
            };
            if !counts {
                // Another VM took over, and its result counts.
                return;
            }
            let (next, log) = match &parsed {
                Ok((document, _)) => {
                    let next = control.succeeded(began_ms, now_ms, self.timing, now_ms);
                    let id = next.key_set_id().unwrap_or_default();
                    if self.store.write_key_set(id, document, version) != Ok(true) {
                        continue;
                    }
                    (next, false)
                }
                Err(why) => control.failed(now_ms, self.timing, now_ms, why.cause()),
            };
            if self.store.write_control(&next, cas) != Ok(true) {
                continue;
            }
            self.record = next;
            match parsed {
                Ok((_, keys)) => {
                    dependency_log::key_set_fetched(&self.name, &keys);
                    self.install(keys);
                }
                Err(why) if log => {
                    dependency_log::key_set_not_fetched(&self.name, &self.sts, &why.words);
                }
                Err(_) => {}
            }
            return;
        }
        dependency_log::key_set_not_shared(&self.name);
    }

    /// Reports the age of the key set, and how many of its keys are not used.
    pub(crate) fn report(&self, metrics: &mut Metrics, since_start_ms: u64, now_ms: u64) {
        let current = self.current.as_ref();
        let age_ms = current.and_then(|current| current.record.age_ms(now_ms));
        let skipped = current.map_or(0, |current| current.keys.skipped());
        let zone = self.zone.as_deref();
        metrics.jwks_age(zone, age_ms.unwrap_or(since_start_ms));
        metrics.jwks_keys_skipped(zone, skipped);
    }
}
