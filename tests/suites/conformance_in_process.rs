//! The vectors, put to the wasm file in the in-process host, in each proxy that it plays.

use std::time::Duration;

use caracal_tests::companion::InProcess;
use caracal_tests::conformance::{self, Case, File, Observed, Report};
use caracal_tests::host::{Answer, Outcome, Proxy, Request};
use caracal_tests::hosts::{self, ENVOY, On};

/// The first fetch and poll are done by then.
const SOON: Duration = Duration::from_millis(100);

fn main() {
    let files = conformance::load();
    for (on, runner) in [
        (hosts::ENVOY, "in-process"),
        (hosts::KONG, "kong"),
        (hosts::APISIX, "apisix"),
    ] {
        let mut report = Report::new(runner);
        for (_, file) in &files {
            run(on, file, &mut report);
        }
        report.finish();
    }
}

fn run(on: On, file: &File, report: &mut Report) {
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
        let config_json =
            conformance::complete(&file.configs[config], on.sts(), file.revocation.as_ref());
        let configuration = on.adapt(serde_json::from_slice(&config_json).unwrap());
        let mut proxy = on
            .builder(&configuration.to_string())
            .wall(Duration::from_secs(file.now))
            .on_callout(move |callout| match on.is_sts(callout) {
                false => companion.answer(callout),
                true => Answer::with(u32::from(answer.status), answer.body()),
            })
            .start()
            .unwrap();
        if on != ENVOY {
            proxy.advance(SOON);
        }
        let cases = file
            .cases
            .iter()
            .filter(|c| c.config == config && c.key_set == key_set);
        for case in cases {
            let got = observe(on, file, &mut proxy, case);
            report.add_expecting(case, &expected(on, case), &got);
        }
        proxy.assert_clean();
    }
}

/// nginx itself answers 400 to two `Authorization` headers, and the filter on Kong to
/// two that it would have to overwrite.
fn expected(on: On, case: &Case) -> Observed {
    let headers = case.request.headers();
    let twice = |what: fn(&str) -> bool| {
        let names = headers.iter().map(|(name, _)| name.to_ascii_lowercase());
        names.filter(|name| what(name)).count() > 1
    };
    let error = match on {
        hosts::ENVOY => return case.expect.clone(),
        _ if twice(|name| name == "authorization") => None,
        hosts::KONG if twice(|name| name == "x-caracal-resource") => {
            Some("invalid_request".to_owned())
        }
        _ => return case.expect.clone(),
    };
    Observed { status: 400, error }
}

fn observe(on: On, file: &File, proxy: &mut Proxy, case: &Case) -> Observed {
    let mut request = Request::new(&case.request.method, &case.request.path);
    for (name, value) in case.request.headers() {
        // The proxies make `:authority` of `host`.
        request = match name.to_ascii_lowercase().as_str() {
            "host" => request.authority(value),
            name => request.header(name, value),
        };
    }
    // A client that is told to come again does so; the vectors' clock stands still.
    let mut got = None;
    for _ in 0..3 {
        proxy.set_wall(Duration::from_secs(file.now));
        let stream = proxy.request(0, request.clone());
        let outcome = on.settle(proxy, stream);
        if let Outcome::Forwarded(_) = outcome {
            proxy.respond(stream, 200, [("content-length", "0")]);
        }
        let observed = match outcome {
            Outcome::Forwarded(_) => Observed::admitted(),
            Outcome::Replied(reply) | Outcome::Answered(reply) => {
                Observed::from_reply(reply.status as u16, &reply.body)
            }
            other => Observed {
                status: 0,
                error: Some(format!("{other:?}")),
            },
        };
        let again = on != ENVOY && observed.status == 503;
        got = Some(observed);
        if !again {
            break;
        }
        proxy.advance(Duration::from_secs(1));
    }
    got.unwrap()
}
