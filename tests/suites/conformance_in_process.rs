//! The vectors, put to the wasm file in the in-process host.

use std::time::Duration;

use caracal_tests::companion::InProcess;
use caracal_tests::conformance::{self, Case, Observed, Report};
use caracal_tests::filter_wasm;
use caracal_tests::host::{Answer, Module, Outcome, Proxy, Request};

/// Longest a request may wait, on the host's clock.
const DEADLINE: Duration = Duration::from_secs(6);

fn main() {
    let module = Module::from_file(filter_wasm()).unwrap();
    let mut report = Report::new("in-process");
    for (_, file) in conformance::load() {
        let mut pairs: Vec<(&str, &str)> = file
            .cases
            .iter()
            .map(|case| (case.config.as_str(), case.key_set.as_str()))
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        for (config, key_set) in pairs {
            let companion = InProcess::default();
            if let Some(state) = &file.revocation {
                state
                    .anchors
                    .iter()
                    .for_each(|anchor| companion.revoke(anchor));
                state
                    .epochs
                    .iter()
                    .for_each(|(zone, epoch)| companion.raise(zone, *epoch));
            }
            let answer = file.key_sets[key_set].clone();
            let mut proxy = Proxy::envoy(module.clone())
                .configuration(conformance::complete(
                    &file.configs[config],
                    "sts",
                    file.revocation.as_ref(),
                ))
                .wall(Duration::from_secs(file.now))
                .clusters(["sts", "feed"])
                .on_callout(move |callout| match callout.cluster.as_str() {
                    "feed" => companion.answer(callout),
                    _ => Answer::with(u32::from(answer.status), answer.body()),
                })
                .start()
                .unwrap();
            let cases = file
                .cases
                .iter()
                .filter(|c| c.config == config && c.key_set == key_set);
            for case in cases {
                let got = observe(&mut proxy, case);
                report.add(case, &got);
                proxy.set_wall(Duration::from_secs(file.now));
            }
            proxy.assert_clean();
        }
    }
    report.finish();
}

fn observe(proxy: &mut Proxy, case: &Case) -> Observed {
    let mut request = Request::new(&case.request.method, &case.request.path);
    for (name, value) in case.request.headers() {
        // Envoy makes `:authority` of `host`.
        request = match name.to_ascii_lowercase().as_str() {
            "host" => request.authority(value),
            name => request.header(name, value),
        };
    }
    let stream = proxy.request(0, request);
    let mut waited = Duration::ZERO;
    while proxy.outcome(stream).is_paused() && waited < DEADLINE {
        let step = Duration::from_millis(10);
        proxy.advance(step);
        waited += step;
    }
    match proxy.outcome(stream) {
        Outcome::Forwarded(_) => {
            proxy.respond(stream, 200, [("content-length", "0")]);
            Observed::admitted()
        }
        Outcome::Replied(reply) => Observed::from_reply(reply.status as u16, &reply.body),
        other => Observed {
            status: 0,
            error: Some(format!("{other:?}")),
        },
    }
}
