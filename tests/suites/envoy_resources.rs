//! Several resources on one listener of a real Envoy, each with a service of its own,
//! by the guides' checklist ("Protect a Gateway-Routed HTTP API"): allowed, missing
//! mandate, missing scope, wrong resource header, revoked session. Once with the
//! resource chosen by header, once by host.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use caracal_tests::envoy::{Envoy, Setup};
use caracal_tests::mint::{Key, configuration, key_set, now};
use caracal_tests::processes::{Companion, until};
use caracal_tests::servers::{Client, Incoming, Reply, Response, Server, request};
use serde_json::{Value, json};

const BILLING: &str = "resource://billing-api";
const REPORTS: &str = "resource://reports-api";
const BILLING_HOST: &str = "billing.edge.test";
const REPORTS_HOST: &str = "reports.edge.test";
const SOON: Duration = Duration::from_secs(15);

/// What reached a service: its name, and the request.
type Seen = Arc<Mutex<Vec<(&'static str, Incoming)>>>;

struct Edge {
    envoy: Envoy,
    companion: Companion,
    key: Key,
    seen: Seen,
    _servers: [Server; 4],
}

/// A service that remembers what reaches it.
fn service(name: &'static str, seen: &Seen) -> Server {
    let seen = Arc::clone(seen);
    Server::start(move |request| {
        seen.lock().unwrap().push((name, request.clone()));
        Reply::new(200, name)
    })
}

impl Edge {
    fn start(resources: Value, virtual_hosts: Value) -> Self {
        let key = Key::new("k1", 1);
        let keys = key_set(&[&key]);
        let companion = Companion::new(&["--in-memory"]).started();
        let seen = Seen::default();
        let sts = Server::start(move |_| Reply::json(&keys));
        let [billing, reports, other] =
            ["billing", "reports", "other"].map(|name| service(name, &seen));
        let changes = json!({
            "audience": null, "resources": resources,
            "revocation": {"upstream": "feed", "poll_interval_ms": 200},
        });
        let envoy = Setup::new([configuration(changes)])
            .cluster("sts", sts.address())
            .cluster("feed", companion.address)
            .cluster("billing", billing.address())
            .cluster("reports", reports.address())
            .cluster("other", other.address())
            .virtual_hosts(virtual_hosts)
            .start()
            .unwrap_or_else(|log| panic!("{log}"));
        let edge = Edge {
            envoy,
            companion,
            key,
            seen,
            _servers: [sts, billing, reports, other],
        };
        // Both workers have keys and revocations.
        let token = edge.mandate(BILLING, "billing:read", "warm");
        until("the edge is warm", SOON, || {
            (0..8).all(|_| {
                let names = [("x-caracal-resource", BILLING), ("host", BILLING_HOST)];
                edge.send("GET", "/", &token, &names).status == 200
            })
        });
        edge.reached();
        edge
    }

    fn mandate(&self, audience: &str, scope: &str, session: &str) -> String {
        let claims = json!({"aud": audience, "scope": scope, "sid": session});
        self.key.mandate(now(), claims)
    }

    fn send(&self, method: &str, path: &str, token: &str, more: &[(&str, &str)]) -> Response {
        let bearer = format!("Bearer {token}");
        let mut headers = more.to_vec();
        if !token.is_empty() {
            headers.push(("authorization", &bearer));
        }
        let mut client = Client::connect(self.address());
        client.exchange(&request(method, path, &headers)).unwrap()
    }

    fn address(&self) -> SocketAddr {
        self.envoy.listener(0)
    }

    /// What reached the services since this was last asked: which, and the resource
    /// that it was told.
    fn reached(&self) -> Vec<(&'static str, Vec<String>)> {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        let told = |request: &Incoming| {
            let all = request.all("x-caracal-resource");
            all.into_iter().map(str::to_owned).collect()
        };
        seen.iter()
            .map(|(name, request)| (*name, told(request)))
            .collect()
    }

    /// A request is admitted, and reaches this service.
    #[track_caller]
    fn is_admitted(
        &self,
        method: &str,
        path: &str,
        token: &str,
        more: &[(&str, &str)],
        to: &'static str,
    ) {
        let answer = self.send(method, path, token, more);
        assert_eq!(answer.status, 200, "{}", answer.error());
        let told = vec![format!("resource://{to}-api")];
        assert_eq!(self.reached(), [(to, told)]);
    }

    /// A request is refused, and reaches nobody.
    #[track_caller]
    fn is_refused(&self, token: &str, more: &[(&str, &str)], status: u16, error: &str) {
        let answer = self.send("GET", "/invoices", token, more);
        assert_eq!((answer.status, answer.error().as_str()), (status, error));
        assert_eq!(self.reached(), []);
    }

    /// Revokes a session, and waits until a mandate of it is refused.
    #[track_caller]
    fn revoke(&self, session: &str, token: &str, more: &[(&str, &str)]) {
        assert_eq!(self.send("GET", "/", token, more).status, 200);
        let body = json!({"anchors": [session]});
        assert_eq!(
            self.companion.post("/v1/revocations", &body, None).status,
            200
        );
        until("it is refused", SOON, || {
            (0..8).all(|_| self.send("GET", "/", token, more).error() == "session_revoked")
        });
        self.reached();
        self.is_refused(token, more, 401, "session_revoked");
    }
}

/// Routed by the header that the filter sets: what is verified is where it goes.
fn by_header() -> Value {
    let to = |resource: &str, cluster: &str| {
        let header = json!({"name": "x-caracal-resource", "string_match": {"exact": resource}});
        json!({"match": {"prefix": "/", "headers": [header]}, "route": {"cluster": cluster}})
    };
    let rest = json!({"match": {"prefix": "/"}, "route": {"cluster": "other"}});
    json!([{"name": "all", "domains": ["*"], "routes": [
        to(BILLING, "billing"), to(REPORTS, "reports"), rest,
    ]}])
}

/// Routed by host.
fn by_host() -> Value {
    let to = |host: &str, cluster: &str| {
        let route = json!({"match": {"prefix": "/"}, "route": {"cluster": cluster}});
        json!({"name": cluster, "domains": [host], "routes": [route]})
    };
    json!([
        to(BILLING_HOST, "billing"),
        to(REPORTS_HOST, "reports"),
        to("*", "other")
    ])
}

fn requirements() -> [Value; 2] {
    let billing = json!({
        "required_scopes": ["billing:read"],
        "routes": {"/invoices": {"methods": {"POST": {"required_scopes": ["billing:submit"]}}}},
        "exclude": ["/healthz"],
    });
    [
        billing,
        json!({"required_scopes": ["reports:read"], "exclude": ["/healthz"]}),
    ]
}

#[test]
fn the_checklist_with_the_resource_chosen_by_header() {
    let [billing, reports] = requirements();
    let edge = Edge::start(json!({BILLING: billing, REPORTS: reports}), by_header());
    let (to_billing, to_reports) = (
        [("x-caracal-resource", BILLING)],
        [("x-caracal-resource", REPORTS)],
    );
    let of_billing = edge.mandate(BILLING, "billing:read", "s-1");
    let of_reports = edge.mandate(REPORTS, "reports:read", "s-1");

    // Allowed request.
    edge.is_admitted("GET", "/invoices", &of_billing, &to_billing, "billing");
    edge.is_admitted("GET", "/", &of_reports, &to_reports, "reports");
    let submit = edge.mandate(BILLING, "billing:submit", "s-1");
    edge.is_admitted("POST", "/invoices", &submit, &to_billing, "billing");
    // Missing mandate.
    edge.is_refused("", &to_billing, 401, "missing_token");
    // Missing scope.
    let other_scope = edge.mandate(BILLING, "billing:list", "s-1");
    edge.is_refused(&other_scope, &to_billing, 403, "insufficient_scope");
    edge.is_refused(&submit, &to_billing, 403, "insufficient_scope");
    let answer = edge.send("POST", "/invoices", &of_billing, &to_billing);
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (403, "insufficient_scope")
    );
    // Wrong resource header.
    edge.is_refused(&of_reports, &to_billing, 401, "invalid_token");
    edge.is_refused(&of_billing, &to_reports, 401, "invalid_token");
    let twice = [
        ("x-caracal-resource", BILLING),
        ("x-caracal-resource", REPORTS),
    ];
    let same_twice = [
        ("x-caracal-resource", BILLING),
        ("X-Caracal-Resource", BILLING),
    ];
    for wrong in [
        &[][..],
        &[("x-caracal-resource", "")],
        &[("x-caracal-resource", "resource://billing-ap")],
        &[(
            "x-caracal-resource",
            "resource://billing-api,resource://reports-api",
        )],
        &[("x_caracal_resource", BILLING)],
        &twice,
        &same_twice,
    ] {
        edge.is_refused(&of_billing, wrong, 400, "invalid_request");
    }
    // Revoked session: of one audience, and so of all.
    let revoked = edge.mandate(BILLING, "billing:read", "s-2");
    edge.revoke("s-2", &revoked, &to_billing);
    let elsewhere = edge.mandate(REPORTS, "reports:read", "s-2");
    edge.is_refused(&elsewhere, &to_reports, 401, "session_revoked");
    edge.is_admitted("GET", "/invoices", &of_billing, &to_billing, "billing");

    // What is excluded is not verified, so nothing is said of it, and it goes where
    // requests of no resource go.
    assert_eq!(edge.send("GET", "/healthz", "", &to_billing).status, 200);
    assert_eq!(edge.reached(), [("other", Vec::new())]);
    assert_eq!(edge.send("GET", "/healthz", "", &[]).status, 400);
    assert_eq!(edge.reached(), []);
}

#[test]
fn the_checklist_with_the_resource_chosen_by_host() {
    let [mut billing, mut reports] = requirements();
    // A resource with hosts may exclude what others do not.
    reports.as_object_mut().unwrap().remove("exclude");
    billing["hosts"] = json!([BILLING_HOST, "billing-2.edge.test"]);
    reports["hosts"] = json!([REPORTS_HOST]);
    let edge = Edge::start(json!({BILLING: billing, REPORTS: reports}), by_host());
    let (at_billing, at_reports) = ([("host", BILLING_HOST)], [("host", REPORTS_HOST)]);
    let of_billing = edge.mandate(BILLING, "billing:read", "s-1");
    let of_reports = edge.mandate(REPORTS, "reports:read", "s-1");

    // Allowed request.
    edge.is_admitted("GET", "/invoices", &of_billing, &at_billing, "billing");
    edge.is_admitted("GET", "/", &of_reports, &at_reports, "reports");
    edge.is_admitted(
        "GET",
        "/",
        &of_reports,
        &[("host", "Reports.Edge.TEST")],
        "reports",
    );
    let both = [("host", BILLING_HOST), ("x-caracal-resource", BILLING)];
    edge.is_admitted("GET", "/", &of_billing, &both, "billing");
    // Missing mandate.
    edge.is_refused("", &at_billing, 401, "missing_token");
    // Missing scope.
    let other_scope = edge.mandate(BILLING, "billing:list", "s-1");
    edge.is_refused(&other_scope, &at_billing, 403, "insufficient_scope");
    // Wrong host, and wrong resource header.
    edge.is_refused(&of_reports, &at_billing, 401, "invalid_token");
    edge.is_refused(&of_billing, &at_reports, 401, "invalid_token");
    for wrong in [
        &[("host", BILLING_HOST), ("x-caracal-resource", REPORTS)][..],
        &[("host", REPORTS_HOST), ("x-caracal-resource", BILLING)],
        &[("host", BILLING_HOST), ("x-caracal-resource", "x")],
        &[("host", "other.edge.test"), ("x-caracal-resource", BILLING)],
        &[("host", "other.edge.test")],
        &[("host", BILLING_HOST), ("host", BILLING_HOST)],
        &[("host", "other.edge.test"), ("host", BILLING_HOST)],
        &[
            ("host", "xbilling.edge.test"),
            ("x-caracal-resource", BILLING),
        ],
    ] {
        edge.is_refused(&of_billing, wrong, 400, "invalid_request");
    }
    // The proxy may take these elsewhere than the name itself, and it does here: with
    // a good mandate, and on the path that billing excludes.
    let with_port = format!("{BILLING_HOST}:443");
    let with_dot = format!("{BILLING_HOST}.");
    for near in [&with_port, &with_dot] {
        for more in [None, Some(BILLING), Some(REPORTS)] {
            let mut headers = vec![("host", near.as_str())];
            headers.extend(more.map(|name| ("x-caracal-resource", name)));
            for token in [&of_billing, &of_reports] {
                edge.is_refused(token, &headers, 400, "invalid_request");
            }
            assert_eq!(edge.send("GET", "/healthz", "", &headers).status, 400);
            assert_eq!(edge.reached(), []);
        }
    }
    // Revoked session.
    let revoked = edge.mandate(BILLING, "billing:read", "s-2");
    edge.revoke("s-2", &revoked, &at_billing);
    edge.is_admitted("GET", "/invoices", &of_billing, &at_billing, "billing");

    assert_eq!(edge.send("GET", "/healthz", "", &at_billing).status, 200);
    assert_eq!(edge.reached(), [("billing", Vec::new())]);
    assert_eq!(edge.send("GET", "/healthz", "", &at_reports).status, 401);
    assert_eq!(edge.reached(), []);
}
