//! The request-header phase: what the filter reads of a request and takes from
//! it, and how a verdict is carried out.

use std::rc::Rc;

use caracal_mandate::Mandate;
use caracal_mandate::config::Host;
use caracal_mandate::decide::{RequestView, Verdict};
use caracal_mandate::forward::{self, Forwarding, RESOURCE_HEADER};
use caracal_mandate::mandate::Fingerprint;
use caracal_mandate::refusal::{ErrorCode, Refusal, Reply, ReplyFormat};
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

impl Request {
    /// One of which nothing is known.
    pub(crate) const UNREAD: Request = Request {
        format: ReplyFormat::Http,
        fingerprint: None,
        resource: None,
    };
}

/// The headers that a request is judged by. Of a name that counts once, the first.
#[derive(Default)]
pub(crate) struct Asked<'h> {
    nginx: bool,
    /// It is another proxy than the configuration says.
    pub(crate) foreign: bool,
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
        // nginx hosts send no grpc-status; gRPC clients make one of the HTTP status.
        if self.nginx {
            return ReplyFormat::Http;
        }
        ReplyFormat::for_content_type(self.content_type)
    }
}

/// Entries at which the header maps of nginx hosts stop: what stands behind is sent all
/// the same.
const NGINX_MAP_ENTRIES: usize = 100;

/// A request's headers as the host gave them.
pub(crate) struct Headers {
    map: HeaderMap,
    host: Host,
    /// The request's target where the map's is another.
    target: Option<Vec<u8>>,
}

impl Headers {
    /// `by_host` says that the host chooses the resource.
    ///
    /// # Errors
    /// The reply to a request that cannot be read whole.
    pub(crate) fn read(host: Host, by_host: bool) -> Result<Self, Refusal> {
        let unreadable = |_| Refusal::unavailable("The edge could not read the request");
        if host == Host::Envoy {
            let map = host::headers(Map::Request).map_err(unreadable)?;
            return Ok(Headers {
                map,
                host,
                target: None,
            });
        }
        // The map of a request without a host kills an APISIX worker. Envoy refuses
        // such a request by itself.
        let Some(named) = host::header(Map::Request, "host").map_err(unreadable)? else {
            return Err(invalid("The request has no Host header"));
        };
        let map = host::headers(Map::Request).map_err(unreadable)?;
        if map.len() >= NGINX_MAP_ENTRIES {
            return Err(invalid(
                "The request has too many headers for this edge to see",
            ));
        }
        let variable = |name: &str| {
            let value = match host {
                Host::Kong => host::property(&format!("ngx\0{name}")),
                _ => host::property(name),
            };
            value.ok().flatten().ok_or_else(|| {
                Refusal::unavailable("The edge could not read a variable of the request")
            })
        };
        // Another host in the target is the one that nginx goes by.
        if by_host && !is_host_of(&variable("host")?, &named) {
            return Err(invalid("The request names two hosts"));
        }
        // Kong's map shows the path decoded, and the upstream gets it as it came.
        let target = match host {
            Host::Kong => Some(variable("request_uri")?),
            _ => None,
        };
        Ok(Headers { map, host, target })
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.map
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
        let mut asked = Asked {
            nginx: self.host.is_nginx(),
            target: self.target.as_deref(),
            ..Asked::default()
        };
        for (name, value) in self.map.iter() {
            let once = match name.len() {
                // Where `:authority` is the server's own name. Envoy has none of that name.
                4 if name.eq_ignore_ascii_case(b"host") => {
                    asked.foreign |= !asked.nginx;
                    &mut asked.authority
                }
                5 if name == b":path" => &mut asked.target,
                7 if name == b":method" => &mut asked.method,
                10 if !asked.nginx && name == b":authority" => &mut asked.authority,
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
        let trailers = host::headers(Map::RequestTrailers)?;
        for name in reserved(&trailers, forwarding) {
            host::remove_header(Map::RequestTrailers, name)?;
        }
        Ok(())
    }

    /// Takes from the request what the upstream must not see, before anything is
    /// decided: so it is gone whatever the decision is, and however late.
    ///
    /// # Errors
    /// The reply to a request from which it cannot be taken.
    pub(crate) fn strip(&self, forwarding: &Forwarding) -> Result<(), Refusal> {
        if self.host.is_nginx() {
            self.names_nothing_reserved(forwarding)?;
        }
        for name in reserved(&self.map, forwarding) {
            self.take(name, &[])?;
        }
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
            self.take(b"authorization", &[])?;
        }
        let baggage: Vec<&[u8]> = self.all("baggage").collect();
        match forward::without_caracal_baggage(&baggage.join(&b',')) {
            None => Ok(()),
            Some(rest) => self.take(b"baggage", &rest),
        }
    }

    /// Refuses a request that has nginx hosts take a verified header away again, as one
    /// of this connection alone (RFC 9110 section 7.6.1), or writes a reserved name so
    /// that they may not find it.
    fn names_nothing_reserved(&self, forwarding: &Forwarding) -> Result<(), Refusal> {
        let mut named = self
            .all("connection")
            .flat_map(|value| value.split(|b| *b == b','));
        if named.any(|name| forwarding.is_reserved(name.trim_ascii())) {
            return Err(invalid("Connection names a header that is the edge's own"));
        }
        let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_".contains(b);
        let reserved = reserved(&self.map, forwarding);
        if !reserved.iter().all(|name| name.iter().all(is_plain)) {
            return Err(invalid(
                "A header that is the edge's own is written in another way",
            ));
        }
        Ok(())
    }

    /// Removes a header, or leaves another value of it. On nginx what is removed may be
    /// sent all the same; and of two that are overwritten Kong does so to one.
    fn take(&self, name: &[u8], rest: &[u8]) -> Result<(), Refusal> {
        let taken = if self.host.is_nginx() {
            let same = |(n, _): &(&[u8], &[u8])| n.eq_ignore_ascii_case(name);
            if self.host == Host::Kong && self.map.iter().filter(same).count() > 1 {
                return Err(invalid(
                    "A header that the edge has to overwrite is there twice",
                ));
            }
            host::replace_request_header(name, rest)
        } else if rest.is_empty() {
            host::remove_header(Map::Request, name)
        } else {
            host::remove_header(Map::Request, name)
                .and_then(|()| host::add_request_header(name, rest))
        };
        taken.map_err(|_| Refusal::unavailable("The edge could not remove reserved headers"))
    }
}

/// The reserved names in a map, each once.
fn reserved<'m>(map: &'m HeaderMap, forwarding: &Forwarding) -> Vec<&'m [u8]> {
    let mut names: Vec<&[u8]> = Vec::new();
    for (name, _) in map.iter() {
        if forwarding.is_reserved(name) && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Whether what nginx takes for the host is what the client's header names: in lower
/// case, and without the port.
fn is_host_of(host: &[u8], header: &[u8]) -> bool {
    let rest = header.get(host.len()..).unwrap_or(b"?");
    let same = header.get(..host.len());
    same.is_some_and(|same| same.eq_ignore_ascii_case(host))
        && (rest.is_empty() || rest.starts_with(b":"))
}

fn invalid(why: &'static str) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, why)
}

/// Carries out a verdict for the request of the effective context, and says
/// where that leaves it. What cannot be carried out refuses.
pub(crate) fn carry_out(engine: &mut Engine, request: &Request, verdict: Verdict) -> Phase {
    match verdict {
        Verdict::Admitted(mandate) => match admit(engine, request, &mandate) {
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
        Verdict::NeedsKeySet(_) | Verdict::NeedsRevocations(_) => refuse(
            engine,
            request,
            &Refusal::unavailable("The key set or the revocation state is missing"),
            None,
        ),
    }
}

/// Lets an excluded request through, without a principal.
pub(crate) fn exclude(engine: &mut Engine) -> Phase {
    if open_gate(engine).is_err() {
        let refusal = Refusal::unavailable("The edge could not open the way to the upstream");
        return refuse(engine, &Request::UNREAD, &refusal, None);
    }
    note(engine, "excluded", None, &Request::UNREAD, None);
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
    )
    // Once more with what no host can object to: where the request's own call has been
    // answered, APISIX lets one go on that has no reply.
    .or_else(|_| host::send_local_response(503, &details, &[], b"refused", grpc_status));
    if let Err(Failed(status)) = sent {
        // The request stays paused: better to hang until the proxy's own timeout
        // than to go on.
        host::log(
            Level::Error,
            &format!("caracal: a reply could not be sent (status {status})"),
        );
    }
}

/// Refuses a request that comes when there is no engine to decide.
pub(crate) fn reply_broken(why: &'static str) -> Phase {
    reply(&Request::UNREAD, &Refusal::unavailable(why));
    Phase::Refused
}

/// Lets a request that waited go on.
pub(crate) fn resume() {
    if host::continue_request().is_err() {
        host::log(
            Level::Error,
            "caracal: an admitted request could not be resumed",
        );
    }
}

fn admit(engine: &mut Engine, request: &Request, mandate: &Mandate) -> Result<(), Failed> {
    set_principal(engine, request, mandate)?;
    for (name, value) in engine.forwarding.variables(mandate.claims()) {
        set_variable(name, value.as_deref().unwrap_or_default())?;
    }
    open_gate(engine)
}

/// The last that is done to a request which goes on.
fn open_gate(engine: &Engine) -> Result<(), Failed> {
    match engine.forwarding.gate() {
        Some(gate) => set_variable(&gate.variable, &gate.upstream),
        None => Ok(()),
    }
}

/// Sets a variable of nginx.
fn set_variable(name: &str, value: &str) -> Result<(), Failed> {
    host::set_property(&format!("ngx\0{name}"), value.as_bytes())
}

/// Adds the principal's headers, and which resource was verified where there are
/// several. There is none of these names, since the client's were removed before the
/// request was judged; or, on nginx, an empty one.
fn set_principal(engine: &mut Engine, request: &Request, mandate: &Mandate) -> Result<(), Failed> {
    let set = if engine.host.is_nginx() {
        host::replace_request_header
    } else {
        host::add_request_header
    };
    if let Some(id) = request.resource.and_then(|resource| engine.told(resource)) {
        set(RESOURCE_HEADER.as_bytes(), id.as_bytes())?;
    }
    for (name, value) in engine.forwarding.principal(mandate.claims()) {
        match value {
            Some(value) => set(name.as_bytes(), value.as_bytes())?,
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
