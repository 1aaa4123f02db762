//! Reads a JSON document into a [`Configuration`].

use super::bounds::{
    BODY_TIMEOUT_MS, CLOCK_SKEW_S, MAX_ANCHORS, MAX_BODY_BYTES, MAX_CACHED_MANDATES,
    MAX_LIFETIME_S, MAX_PAUSED, MAX_STALENESS_S, MAX_STREAMS, MAX_TOKEN_BYTES, PAUSE_TIMEOUT_MS,
    POLL_INTERVAL_MS,
};
use super::forward::Forward;
use super::gateway::Mode;
use super::model::{Configuration, Disabled, Feed, Limits, ProxyKind, Revocation};
use super::parse_enforcement::{self, enforcement};
use super::parse_forward::{context, forwarded};
use super::parse_requirements::overrides;
use super::reader::{At, ConfigError, Errors, Object, one_of, quoted};
use super::secret::Secret;
use super::{
    parse_audit, parse_gateway, parse_host, parse_mcp, parse_metadata, parse_rules,
    parse_shared_data, parse_zones, values,
};
use crate::header_names::RESOURCE_HEADER;
use crate::json::{self, Duplicates, Value};
use crate::jwks::algorithm::Algorithm;
use crate::routing::routes::Requirements;

/// Largest configuration, in bytes.
const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

impl Configuration {
    /// Reads a filter configuration. `environment` gives the variables `CARACAL_STS_URL`,
    /// `CARACAL_ZONE_ID`, `CARACAL_FEED_TOKEN` and `CARACAL_SHARED_DATA_SECRET`, which are used
    /// for values that the document does not have.
    ///
    /// # Errors Every error in the document, in its order, each with its key's path.
    pub fn from_json(
        document: &[u8],
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<ConfigError>> {
        let errors = Errors::default();
        let whole = |problem: String| {
            vec![ConfigError {
                path: String::new(),
                problem,
            }]
        };
        if document.len() > MAX_DOCUMENT_BYTES {
            return Err(whole(format!(
                "the configuration is over {MAX_DOCUMENT_BYTES} bytes"
            )));
        }
        if document.trim_ascii().is_empty() {
            return Err(whole(
                "the configuration is empty; expected a JSON object".to_owned(),
            ));
        }
        let members = json::parse_object_with(document, Duplicates::Keep)
            .map_err(|why| whole(format!("the configuration {why}; expected a JSON object")))?;
        let configuration = read(Object::new(&members, &errors), environment);
        if let Some(configuration) = &configuration {
            parse_metadata::check(configuration, &errors);
        }
        match (configuration, errors.into_vec()) {
            (Some(configuration), errors) if errors.is_empty() => Ok(configuration),
            (_, errors) if errors.is_empty() => {
                Err(whole("the configuration is incomplete".to_owned()))
            }
            (_, errors) => Err(errors),
        }
    }
}

fn read(
    object: Object<'_, '_, '_>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Option<Configuration> {
    // Reads every key before it reports a missing one, so that all errors are found.
    let allow_insecure_issuer = object.boolean("allow_insecure_issuer", false);
    let named = parse_host::host(&object);
    let host = named.unwrap_or(ProxyKind::Envoy);
    let issuer = parse_zones::issuer(&object, environment, allow_insecure_issuer);
    let zones = parse_zones::zones(&object, host, allow_insecure_issuer, environment);
    let mode = parse_gateway::mode(&object, host);
    let challenge = parse_metadata::challenge(&object);
    let protected = parse_rules::protected(&object, mode, challenge.as_ref());
    let jwks = parse_zones::jwks_of_all(&object, host, allow_insecure_issuer);
    let revocation = revocation(&object, host, environment);
    let gateway = parse_gateway::gateway(&object, mode, host, revocation.as_ref());
    if mode == Mode::Gateway
        && let Some(protected) = &protected
    {
        parse_gateway::check(&object, protected, host);
    }
    let enforcement = enforcement(&object).unwrap_or_default();
    if let Some(protected) = &protected {
        parse_enforcement::check(&object, protected, enforcement, mode);
    }
    if let (Some(protected), Some(zones)) = (&protected, &zones) {
        parse_zones::check_resources(&object, protected, zones);
    }
    let requirements = overrides(&object).over(&Requirements::default());
    let algorithms = match object.get("algorithms") {
        None => Some(vec![Algorithm::Es256]),
        Some(at) => algorithms(&at),
    };
    let clock_skew_s = object.integer("clock_skew_s", &CLOCK_SKEW_S);
    let limits = object
        .get("limits")
        .and_then(|at| limits(&at, host))
        .unwrap_or_default();
    if mode == Mode::Gateway && limits.max_paused == 0 {
        object.fail::<()>(
            "limits.max_paused",
            "no request could wait for its exchange; at least 1",
        );
    }
    if let Some(protected) = &protected {
        parse_mcp::check(&object, protected, &requirements, (host, limits.max_paused));
    }
    let forward = object
        .get("forward")
        .and_then(|at| forward(&at, host, mode))
        .unwrap_or_else(|| Forward::of_mode(mode));
    let is_ours = |name: &String| name.replace(['_', '.'], "-") == RESOURCE_HEADER;
    if object.has("resources") && forward.headers.keys().any(is_ours) {
        object.fail::<()>(
            &format!("forward.headers[{RESOURCE_HEADER:?}]"),
            "is the header that tells the upstream which resource was verified",
        );
    }
    if object.has("resources") && forward.claims.iter().any(is_ours) {
        object.fail::<()>(
            "forward.claims",
            "is the header that tells the upstream which resource was verified",
        );
    }
    let filter_state = parse_host::filter_state(&object, host);
    let streams = parse_host::streams(&object, host);
    let shared_data = parse_shared_data::read(&object, host, environment);
    let readiness_path = parse_host::readiness_path(&object, host);
    let metrics = parse_host::measured(&object, host);
    let audit = parse_audit::audit(&object, host, revocation.as_ref());
    object.finish();
    let (protected, zones) = (protected?, zones?);
    Some(Configuration {
        issuer: issuer?,
        zone_id: zones.zone_id,
        zones: zones.zones,
        audience: protected.audience,
        jwks: jwks?,
        revocation: revocation?,
        requirements,
        routes: protected.routes,
        exclude: protected.exclude,
        resources: protected.resources,
        challenge,
        metadata: protected.metadata,
        readiness_path,
        enforcement,
        host: named?,
        mode,
        gateway,
        audit,
        algorithms: algorithms?,
        clock_skew_s,
        allow_insecure_issuer,
        streams,
        shared_data,
        metrics,
        limits,
        forward,
        filter_state,
    })
}

fn revocation(
    object: &Object<'_, '_, '_>,
    host: ProxyKind,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Option<Revocation> {
    let what = "an object with upstream, the proxy's name for the companion, or \"disabled\" to run without checking revocation";
    let at = object.require("revocation", what)?;
    match at.value {
        Value::String(text) if text == "disabled" => Some(Revocation::Disabled(Disabled::Disabled)),
        Value::Object(_) => feed(at.object()?, host, environment).map(Revocation::Feed),
        _ => at.fail(format!("expected {what}")),
    }
}

fn feed(
    feed: Object<'_, '_, '_>,
    host: ProxyKind,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Option<Feed> {
    let upstream = feed
        .require(
            "upstream",
            "the proxy's name for the companion: on Envoy a cluster, elsewhere host:port",
        )
        .and_then(|at| parse_host::upstream(&at, host));
    let tls = parse_host::tls(&feed, host, upstream.as_deref());
    let token = match feed.get("token") {
        Some(at) => {
            let text = at.text()?;
            if let Err(problem) = values::bearer_token(text) {
                return at.fail(problem);
            }
            Some(text.to_owned())
        }
        None => {
            let set = environment("CARACAL_FEED_TOKEN").filter(|token| !token.is_empty());
            if let Some(Err(problem)) = set.as_deref().map(values::bearer_token) {
                return feed.fail("token", format!("CARACAL_FEED_TOKEN {problem}"));
            }
            set
        }
    };
    let (max_staleness_s, poll_interval_ms) = (
        feed.integer("max_staleness_s", &MAX_STALENESS_S),
        feed.integer("poll_interval_ms", &POLL_INTERVAL_MS),
    );
    feed.finish();
    Some(Feed {
        upstream: upstream?,
        tls,
        token: token.map(Secret::new),
        max_staleness_s,
        poll_interval_ms,
    })
}

fn algorithms(at: &At<'_, '_, '_>) -> Option<Vec<Algorithm>> {
    let names = at.strings()?;
    let known = || one_of(Algorithm::ALL.map(Algorithm::as_jose));
    if names.is_empty() {
        return at.fail(format!("must name at least one algorithm: {}", known()));
    }
    let read = names.iter().map(|name| {
        Algorithm::from_jose(name)
            .or_else(|| at.fail(format!("expected {}, found {}", known(), quoted(name))))
    });
    read.collect()
}

fn limits(at: &At<'_, '_, '_>, host: ProxyKind) -> Option<Limits> {
    let object = at.object()?;
    let limits = Limits {
        max_token_bytes: object.integer("max_token_bytes", &MAX_TOKEN_BYTES),
        max_paused: object.integer("max_paused", &MAX_PAUSED),
        pause_timeout_ms: object.integer("pause_timeout_ms", &PAUSE_TIMEOUT_MS),
        max_cached_mandates: object.integer("max_cached_mandates", &MAX_CACHED_MANDATES),
        max_anchors: object.integer("max_anchors", &MAX_ANCHORS),
        max_streams: object.integer("max_streams", &MAX_STREAMS),
        max_body_bytes: object.integer("max_body_bytes", &MAX_BODY_BYTES),
        body_timeout_ms: object.integer("body_timeout_ms", &BODY_TIMEOUT_MS),
        max_lifetime_s: object
            .get("max_lifetime_s")
            .and_then(|at| at.integer(&MAX_LIFETIME_S)),
    };
    parse_host::limits(&object, host, limits.max_paused);
    object.finish();
    Some(limits)
}

fn forward(at: &At<'_, '_, '_>, host: ProxyKind, mode: Mode) -> Option<Forward> {
    let object = at.object()?;
    let default = Forward::of_mode(mode);
    let authorization = object.boolean("authorization", default.authorization);
    if authorization && mode == Mode::Gateway {
        let what = "the mandate is used up in Gateway mode, and never forwarded; remove the key";
        object.fail::<()>("authorization", what);
    }
    let headers = match object.get("headers") {
        None => default.headers,
        Some(at) => forwarded(&at, values::forward_header).unwrap_or_default(),
    };
    let context = context(&object, mode, &headers);
    let (variables, gate) = parse_host::forward(&object, host);
    object.finish();
    Some(Forward {
        authorization,
        headers,
        baggage: context.baggage,
        claims: context.claims,
        unsendable: context.unsendable,
        variables,
        gate,
    })
}
