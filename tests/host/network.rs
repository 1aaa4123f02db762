//! The network for callouts: which callouts are under way, and their responses.
//! `events.rs` calls back into a VM.

use std::time::Duration;

use crate::host::profile::{Callouts, Failed};
use crate::host::{Answer, Callout, Headers, Vm, status};

/// Envoy adds this header to a response of an upstream.
const SERVICE_TIME: &str = "x-envoy-upstream-service-time";

type Handler = Box<dyn FnMut(&Callout) -> Answer>;

/// The network of the process.
pub(crate) struct Network {
    pub(crate) handler: Option<Handler>,
    /// The clusters that exist; none means that every name exists.
    pub(crate) clusters: Option<Vec<String>>,
    rules: Callouts,
    pub(crate) log: Vec<Callout>,
    /// Sizes that callbacks get instead of the real ones: headers, body.
    pub(crate) lie: Option<(u32, u32)>,
    /// Who made each logged callout.
    callers: Vec<(usize, Caller)>,
    open: Vec<Open>,
    made: usize,
    tokens: u32,
}

/// Who gets the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) vm: Vm,
    /// The context that is called.
    pub(crate) context: u32,
    pub(crate) token: u32,
}

struct Open {
    callout: Callout,
    to: Caller,
    due: Option<(Duration, Arrived)>,
}

/// What arrives; nothing if the host itself failed. Then the size of a body that is
/// announced but cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived(
    pub(crate) Option<(Headers, Vec<u8>)>,
    pub(crate) Option<usize>,
);

impl Network {
    pub(crate) fn new(rules: Callouts) -> Self {
        Self {
            handler: None,
            clusters: None,
            rules,
            log: Vec::new(),
            lie: None,
            callers: Vec::new(),
            open: Vec::new(),
            made: 0,
            tokens: 0,
        }
    }

    /// Starts a callout and returns its token. `callout` comes without an id, `to`
    /// without a token.
    pub(crate) fn dispatch(&mut self, mut callout: Callout, mut to: Caller) -> Result<u32, u32> {
        let known = self.clusters.as_ref();
        let is_known = known.is_none_or(|known| known.contains(&callout.cluster));
        let port = callout.cluster.rsplit_once(':').map(|(_, port)| port);
        let has_port = port.is_some_and(|port| port.parse::<u16>().is_ok());
        let is_place = is_known && (has_port || !self.rules.port);
        if !is_place && !self.rules.takes_any {
            return Err(status::BAD_ARGUMENT);
        }
        for required in [":method", ":path", ":authority"] {
            if callout.headers.get(required).is_none_or(<[u8]>::is_empty) {
                return Err(status::BAD_ARGUMENT);
            }
        }
        let same = self.open.iter();
        if same
            .filter(|o| o.callout.cluster == callout.cluster)
            .count()
            >= self.rules.per_cluster
        {
            return Err(status::INTERNAL_FAILURE);
        }
        callout.id = self.made;
        // A canary is gone before anything can arrive.
        let answer = match (&mut self.handler, to.vm) {
            (_, Vm::Canary) => Answer::Never,
            _ if !is_place => Answer::Refused,
            (None, _) => Answer::Refused,
            (Some(handler), _) => handler(&callout),
        };
        if let Answer::DispatchFails(status) = answer {
            return Err(status);
        }
        self.made += 1;
        to.token = self.rules.first_token + self.tokens;
        self.tokens += 1;
        let due = arrival(&self.rules, &callout, answer, callout.at);
        self.log.push(callout.clone());
        self.callers.push((callout.id, to));
        if to.vm != Vm::Canary {
            self.open.push(Open { callout, to, due });
        }
        Ok(to.token)
    }

    /// Answers an open callout. False if there is none with that id.
    pub(crate) fn answer(&mut self, id: usize, answer: Answer, now: Duration) -> bool {
        match self.open.iter_mut().find(|o| o.callout.id == id) {
            Some(open) => {
                open.due = arrival(&self.rules, &open.callout, answer, now);
                true
            }
            None => false,
        }
    }

    /// Answers a callout again. False if it is not known.
    pub(crate) fn answer_again(&mut self, id: usize, answer: Answer, now: Duration) -> bool {
        let callout = self.log.iter().find(|callout| callout.id == id);
        let caller = self.callers.iter().find(|(made, _)| *made == id);
        let (Some(callout), Some((_, to))) = (callout, caller) else {
            return false;
        };
        let (callout, to) = (callout.clone(), *to);
        let due = arrival(&self.rules, &callout, answer, now);
        self.open.push(Open { callout, to, due });
        true
    }

    /// When the next response arrives.
    pub(crate) fn next(&self) -> Option<Duration> {
        let due = self.open.iter().filter_map(|o| o.due.as_ref());
        due.map(|(at, _)| *at).min()
    }

    /// Takes the next response that arrives until then.
    pub(crate) fn take(&mut self, until: Duration) -> Option<(Caller, Arrived)> {
        let due = self.open.iter().enumerate();
        let due = due.filter_map(|(place, o)| Some((o.due.as_ref()?.0, o.callout.id, place)));
        let (_, _, place) = due.min().filter(|(at, _, _)| *at <= until)?;
        let open = self.open.remove(place);
        Some((open.to, open.due?.1))
    }

    pub(crate) fn open(&self) -> impl Iterator<Item = &Callout> {
        self.open.iter().map(|o| &o.callout)
    }

    /// A VM is gone, so its requests are cancelled.
    pub(crate) fn drop_vm(&mut self, vm: Vm) {
        self.open.retain(|o| o.to.vm != vm);
    }

    /// Forgets callouts that are logged and no longer open.
    pub(crate) fn forget(&mut self) {
        let open: Vec<usize> = self.open().map(|c| c.id).collect();
        self.log.retain(|c| open.contains(&c.id));
        self.callers.retain(|(id, _)| open.contains(id));
    }
}

/// When a response arrives, and in which form.
fn arrival(
    rules: &Callouts,
    callout: &Callout,
    answer: Answer,
    now: Duration,
) -> Option<(Duration, Arrived)> {
    let shape = rules.failed;
    let deadline = (!callout.timeout.is_zero()).then(|| callout.at + callout.timeout);
    let (answer, deadline) = match answer {
        Answer::Trickling(whole) if rules.timeout_of_reads => (*whole, None),
        Answer::Trickling(whole) => (*whole, deadline),
        answer => (answer, deadline),
    };
    let timeout = || {
        let at = deadline?.max(now);
        Some((at, failed(shape, 504, "upstream request timeout")))
    };
    match answer {
        Answer::Respond { after, .. } if deadline.is_some_and(|d| now + after >= d) => timeout(),
        Answer::Respond {
            status,
            headers,
            body,
            after,
        } => {
            let mut headers = with(shape, status, headers);
            if shape == Failed::Status {
                // Envoy's router adds it to responses of the upstream, but not to its
                // own. An empty one was removed again, as suppress_envoy_headers does.
                match headers.text(SERVICE_TIME) {
                    Some("") => headers.remove(SERVICE_TIME),
                    _ => headers.add(SERVICE_TIME, "1"),
                }
            }
            Some((now + after, Arrived(Some((headers, body)), None)))
        }
        Answer::Refused => {
            let text = "upstream connect error or disconnect/reset before headers";
            Some((now, failed(shape, 503, text)))
        }
        Answer::TimesOut => timeout(),
        // The other proxies have no limit. There it looks like any failure.
        Answer::TooBig if shape != Failed::Status => Some((now, failed(shape, 502, ""))),
        Answer::TooBig => Some((now, Arrived(None, None))),
        Answer::CutShort { status, promised } if shape == Failed::DispatchStatus => {
            let headers = with(shape, status, Headers::new());
            Some((now, Arrived(Some((headers, Vec::new())), Some(promised))))
        }
        Answer::CutShort { .. } => Some((now, failed(shape, 503, "upstream reset"))),
        Answer::Never | Answer::DispatchFails(_) | Answer::Trickling(_) => None,
    }
}

fn with(shape: Failed, status: u32, rest: Headers) -> Headers {
    let mut headers = Headers::from([(":status", status.to_string())]);
    if shape == Failed::DispatchStatus {
        headers.add(":dispatch_status", "ok");
    }
    for (name, value) in rest.iter() {
        headers.add(name, value);
    }
    headers
}

fn failed(shape: Failed, status: u32, text: &str) -> Arrived {
    match shape {
        Failed::Status => {}
        Failed::DispatchStatus => {
            let headers = Headers::from([(":dispatch_status", "failed")]);
            return Arrived(Some((headers, Vec::new())), None);
        }
        Failed::Nothing => return Arrived(Some((Headers::new(), Vec::new())), None),
    }
    let mut headers = Headers::from([("content-type", "text/plain")]);
    headers.add("content-length", text.len().to_string());
    Arrived(Some((with(shape, status, headers), text.into())), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostKind;
    use crate::host::profile::Profile;

    const MS: Duration = Duration::from_millis(1);

    fn network() -> Network {
        let mut rules = Profile::of(HostKind::Envoy).callouts;
        rules.per_cluster = 2;
        Network::new(rules)
    }

    fn callout(cluster: &str) -> Callout {
        let headers = Headers::from([(":method", "GET"), (":path", "/"), (":authority", "a")]);
        Callout {
            id: 0,
            cluster: cluster.into(),
            method: "GET".into(),
            path: "/".into(),
            authority: "a".into(),
            headers,
            body: Vec::new(),
            timeout: 100 * MS,
            from: Vm::Main,
            stream: None,
            at: Duration::ZERO,
        }
    }

    fn caller(vm: Vm) -> Caller {
        Caller {
            vm,
            context: 1,
            token: 0,
        }
    }

    fn answering(answer: Answer) -> Network {
        let mut network = network();
        network.handler = Some(Box::new(move |_| answer.clone()));
        network
    }

    /// When the response to a callout arrives, and its `:status`.
    fn arrives(answer: Answer) -> Option<(Duration, String)> {
        arrives_in(answering(answer))
    }

    fn arrives_in(mut network: Network) -> Option<(Duration, String)> {
        network.dispatch(callout("sts"), caller(Vm::Main)).unwrap();
        let at = network.next()?;
        assert!(network.take(at - MS).is_none(), "not before it is due");
        let (_, Arrived(what, _)) = network.take(at).unwrap();
        Some((at, what.unwrap().0.text(":status").unwrap().to_owned()))
    }

    #[test]
    fn answers_arrive_when_they_say_and_timeouts_as_504() {
        let later = Answer::with(200, "").after(30 * MS);
        assert_eq!(arrives(later), Some((30 * MS, "200".into())));
        let too_late = Answer::with(200, "").after(100 * MS);
        assert_eq!(arrives(too_late), Some((100 * MS, "504".into())));
        assert_eq!(arrives(Answer::TimesOut), Some((100 * MS, "504".into())));
        assert_eq!(arrives(Answer::Never), None);
    }

    #[test]
    fn a_timeout_of_reads_does_not_end_an_answer_that_trickles_in() {
        let slow = || Answer::with(200, "").after(150 * MS).trickling();
        assert_eq!(arrives(slow()), Some((100 * MS, "504".into())));
        let mut of_reads = answering(slow());
        of_reads.rules.timeout_of_reads = true;
        assert_eq!(arrives_in(of_reads), Some((150 * MS, "200".into())));
    }

    #[test]
    fn what_fails_at_once_says_so() {
        let mut network = answering(Answer::Refused);
        network.dispatch(callout("sts"), caller(Vm::Main)).unwrap();
        let (_, Arrived(what, _)) = network.take(Duration::ZERO).unwrap();
        assert_eq!(what.unwrap().0.text(":status"), Some("503"));

        let mut network = answering(Answer::TooBig);
        network.dispatch(callout("sts"), caller(Vm::Main)).unwrap();
        assert_eq!(network.take(Duration::ZERO).unwrap().1, Arrived(None, None));

        let mut network = answering(Answer::DispatchFails(10));
        assert_eq!(network.dispatch(callout("sts"), caller(Vm::Main)), Err(10));
        assert!(network.log.is_empty());
    }

    #[test]
    fn a_canary_is_never_answered_and_never_asked_for() {
        let mut network = network();
        network.handler = Some(Box::new(|_| panic!("asked")));
        network
            .dispatch(callout("sts"), caller(Vm::Canary))
            .unwrap();
        assert_eq!(network.next(), None);
        assert_eq!(network.log.len(), 1);
        assert!(!network.answer(0, Answer::with(200, ""), Duration::ZERO));
    }

    #[test]
    fn unknown_clusters_missing_headers_and_crowds_are_refused() {
        let mut network = answering(Answer::Never);
        network.clusters = Some(vec!["sts".into()]);
        assert_eq!(
            network.dispatch(callout("feed"), caller(Vm::Main)),
            Err(status::BAD_ARGUMENT)
        );
        for name in [":method", ":path", ":authority"] {
            let mut without = callout("sts");
            without.headers.remove(name);
            assert_eq!(
                network.dispatch(without, caller(Vm::Main)),
                Err(status::BAD_ARGUMENT),
                "{name}"
            );
        }
        assert_eq!(network.dispatch(callout("sts"), caller(Vm::Main)), Ok(1));
        assert_eq!(network.dispatch(callout("sts"), caller(Vm::Main)), Ok(2));
        assert_eq!(
            network.dispatch(callout("sts"), caller(Vm::Main)),
            Err(status::INTERNAL_FAILURE)
        );
    }

    #[test]
    fn a_held_callout_is_answered_by_hand_once() {
        let mut network = answering(Answer::Never);
        network.dispatch(callout("sts"), caller(Vm::Main)).unwrap();
        assert!(network.answer(0, Answer::with(200, ""), 7 * MS));
        assert_eq!(network.next(), Some(7 * MS));
        assert!(network.take(7 * MS).is_some());
        assert!(!network.answer(0, Answer::with(200, ""), 8 * MS));
    }
}
