//! The request-header phase: what the filter reads of a request and takes from
//! it, and how a verdict is carried out.

use std::rc::Rc;

use caracal_mandate::Mandate;
use caracal_mandate::decide::{RequestView, Verdict};
use caracal_mandate::forward::{self, Forwarding, RESOURCE_HEADER};
use caracal_mandate::mandate::Fingerprint;
use caracal_mandate::refusal::{Refusal, Reply, ReplyFormat};
use caracal_mandate::resources::ResourceId;

use crate::engine::{Engine, Phase};
use crate::host::{self, Failed, Level, Map};
use crate::wire::HeaderMap;

/// What of a request outlives its header callback.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) format: ReplyFormat,
    /// Of the bearer token, verified or not; for logs.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// The resource that it is for, once that is known.
    pub(crate) resource: Option<ResourceId>,
}

/// The headers that a request is judged by. Of a name that counts once, the first.
#[derive(Default)]
pub(crate) struct Asked<'h> {
    method: Option<&'h [u8]>,
    target: Option<&'h [u8]>,
    authority: Option<&'h [u8]>,
    content_type: Option<&'h [u8]>,
    resource: Vec<&'h [u8]>,
    authorization: Vec<&'h [u8]>,
}

impl Asked<'_> {
    pub(crate) fn view(&self) -> RequestView<'_> {
        RequestView {
            method: self.method,
            target: self.target,
            authority: self.authority,
            resource: &self.resource,
            authorization: &self.authorization,
        }
    }

    pub(crate) fn format(&self) -> ReplyFormat {
        ReplyFormat::for_content_type(self.content_type)
    }
}

/// A request's headers as the host gave them.
pub(crate) struct Headers(HeaderMap);

impl Headers {
    pub(crate) fn read() -> Result<Self, Failed> {
        host::headers(Map::Request).map(Headers)
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.0
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    #[cfg(feature = "test-hooks")]
    pub(crate) fn first(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// What is judged, in one pass: each name is compared with few others.
    pub(crate) fn asked(&self) -> Asked<'_> {
        let mut asked = Asked::default();
        for (name, value) in self.0.iter() {
            let once = match name.len() {
                5 if name == b":path" => &mut asked.target,
                7 if name == b":method" => &mut asked.method,
                10 if name == b":authority" => &mut asked.authority,
                12 if name.eq_ignore_ascii_case(b"content-type") => &mut asked.content_type,
                13 if name.eq_ignore_ascii_case(b"authorization") => {
                    asked.authorization.push(value);
                    continue;
                }
                18 if name.eq_ignore_ascii_case(RESOURCE_HEADER.as_bytes()) => {
                    asked.resource.push(value);
                    continue;
                }
                _ => continue,
            };
            once.get_or_insert(value);
        }
        asked
    }

    /// Takes reserved names from a request's trailers: some upstreams read them as
    /// headers.
    pub(crate) fn strip_trailers(forwarding: &Forwarding) -> Result<(), Failed> {
        let trailers = Headers(host::headers(Map::RequestTrailers)?);
        trailers.strip_reserved(Map::RequestTrailers, forwarding)
    }

    fn strip_reserved(&self, map: Map, forwarding: &Forwarding) -> Result<(), Failed> {
        let mut removed: Vec<&[u8]> = Vec::new();
        for (name, _) in self.0.iter() {
            if forwarding.is_reserved(name) && !removed.contains(&name) {
                host::remove_header(map, name)?;
                removed.push(name);
            }
        }
        Ok(())
    }

    /// Takes from the request what the upstream must not see, before anything is
    /// decided: so it is gone whatever the decision is, and however late.
    pub(crate) fn strip(&self, forwarding: &Forwarding) -> Result<(), Failed> {
        self.strip_reserved(Map::Request, forwarding)?;
        if forwarding.keeps_mandate() {
            return Ok(());
        }
        let bearer = |value: &[u8]| {
            value
                .trim_ascii_start()
                .get(..6)
                .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
        };
        if self.all("authorization").any(bearer) {
            host::remove_header(Map::Request, b"authorization")?;
        }
        let baggage: Vec<&[u8]> = self.all("baggage").collect();
        match forward::without_caracal_baggage(&baggage.join(&b',')) {
            None => Ok(()),
            Some(rest) if rest.is_empty() => host::remove_header(Map::Request, b"baggage"),
            Some(rest) => {
                host::remove_header(Map::Request, b"baggage")?;
                host::add_request_header("baggage", &rest)
            }
        }
    }
}

/// Carries out a verdict for the request of the effective context, and says
/// where that leaves it. What cannot be carried out refuses.
pub(crate) fn carry_out(engine: &mut Engine, request: &Request, verdict: Verdict) -> Phase {
    match verdict {
        Verdict::Admitted(mandate) => match set_principal(engine, request, &mandate) {
            Ok(()) => {
                note(engine, "admitted", None, request, Some(&mandate));
                engine.metrics.admitted();
                Phase::Continued
            }
            Err(_) => {
                let refusal =
                    Refusal::unavailable("The edge could not set the principal's headers");
                refuse(engine, request, &refusal, Some(&mandate))
            }
        },
        Verdict::Refused(refusal, mandate) => refuse(engine, request, &refusal, mandate.as_ref()),
        // Whoever calls has found out whether to wait.
        Verdict::NeedsKeySet(_) | Verdict::NeedsRevocations => refuse(
            engine,
            request,
            &Refusal::unavailable("The key set or the revocation state is missing"),
            None,
        ),
    }
}

/// Lets an excluded request through, without a principal.
pub(crate) fn exclude(engine: &mut Engine) -> Phase {
    let request = Request {
        format: ReplyFormat::Http,
        fingerprint: None,
        resource: None,
    };
    note(engine, "excluded", None, &request, None);
    engine.metrics.excluded();
    Phase::Continued
}

/// Answers a refused request. Nothing may be done to it in the same callback
/// after this: a second reply would hang the client.
pub(crate) fn refuse(
    engine: &mut Engine,
    request: &Request,
    refusal: &Refusal,
    mandate: Option<&Rc<Mandate>>,
) -> Phase {
    let code = refusal.code();
    note(engine, "refused", Some(code.as_str()), request, mandate);
    engine.metrics.refused(code);
    reply(request, refusal);
    Phase::Refused
}

/// The reply alone, for where there is no engine to count with.
pub(crate) fn reply(request: &Request, refusal: &Refusal) {
    let code = refusal.code().as_str();
    let fingerprint = request
        .fingerprint
        .map(|f| f.to_string())
        .unwrap_or_default();
    host::log(
        Level::Debug,
        &format!(
            "caracal: refused: {code}: {} [{fingerprint}]",
            refusal.description()
        ),
    );
    let reply = Reply::new(refusal, request.format);
    let grpc_status = (request.format == ReplyFormat::Grpc).then_some(reply.grpc_status);
    let details = format!("caracal_{code}");
    let sent = host::send_local_response(
        reply.status,
        &details,
        &reply.headers,
        &reply.body,
        grpc_status,
    );
    if let Err(Failed(status)) = sent {
        // The request stays paused: better to hang until the proxy's own timeout
        // than to go on.
        host::log(
            Level::Error,
            &format!("caracal: a reply could not be sent (status {status})"),
        );
    }
}

/// Adds the principal's headers, and which resource was verified where there are
/// several. There is none of these names: the client's were removed before the
/// request was judged.
fn set_principal(engine: &mut Engine, request: &Request, mandate: &Mandate) -> Result<(), Failed> {
    if let Some(id) = request.resource.and_then(|resource| engine.told(resource)) {
        host::add_request_header(RESOURCE_HEADER, id.as_bytes())?;
    }
    for (name, value) in engine.forwarding.principal(mandate.claims()) {
        match value {
            Some(value) => host::add_request_header(name, value.as_bytes())?,
            None => engine.metrics.header_not_sent(),
        }
    }
    Ok(())
}

/// Leaves the decision in the filter state, for access logs.
fn note(
    engine: &Engine,
    decision: &str,
    error: Option<&str>,
    request: &Request,
    mandate: Option<&Rc<Mandate>>,
) {
    if !engine.filter_state {
        return;
    }
    let set = |name: &str, value: &str| {
        // A host that keeps no state loses a log field, not a decision.
        let _ = host::set_property(name, value.as_bytes());
    };
    set("caracal_decision", decision);
    if let Some(error) = error {
        set("caracal_error", error);
    }
    if let Some(fingerprint) = request.fingerprint {
        let hex = fingerprint.to_hex();
        set(
            "caracal_subject_fingerprint",
            std::str::from_utf8(&hex).unwrap_or_default(),
        );
    }
    if let Some(mandate) = mandate {
        let claims = mandate.claims();
        for (name, value) in [
            ("caracal_client_id", &claims.client_id),
            ("caracal_jti", &claims.jti),
        ] {
            // Somebody chose these; a log line must stay one line.
            if forward::is_sendable(value) {
                set(name, value);
            }
        }
    }
}
