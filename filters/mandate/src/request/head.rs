//! The request's headers: what of them is judged, and what the upstream must not see.

use caracal_mandate::config::Host;
use caracal_mandate::decide::RequestView;
use caracal_mandate::forward::{self, Forwarding, RESOURCE_HEADER};
use caracal_mandate::refusal::{ErrorCode, Refusal, ReplyFormat};

use crate::abi::header_map::HeaderMap;
use crate::abi::hostcalls::{self, MapType, Status};

/// The headers that a request is judged by. Of a name that counts once, the first.
#[derive(Default)]
pub(crate) struct RequestHead<'h> {
    nginx: bool,
    method: Option<&'h [u8]>,
    target: Option<&'h [u8]>,
    authority: Option<&'h [u8]>,
    content_type: Option<&'h [u8]>,
    resource: Vec<&'h [u8]>,
    authorization: Vec<&'h [u8]>,
}

impl RequestHead<'_> {
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

/// Entries at which a request of an nginx host is refused: APISIX shows 100 headers of
/// the client's, and sends those that stand behind them all the same. Kong shows a
/// longer map not at all.
const NGINX_MAP_ENTRIES: usize = 100;
const TOO_MANY: &str = "The request has too many headers for this edge to see";

/// A request's headers as the host gave them.
pub(crate) struct RequestHeaders {
    map: HeaderMap,
    host: Host,
    /// The request's target where the map's is another.
    target: Option<Vec<u8>>,
}

impl RequestHeaders {
    /// # Errors
    /// The reply to a request that cannot be read whole.
    pub(crate) fn read(host: Host) -> Result<Self, Refusal> {
        let unreadable = |_| Refusal::unavailable("The edge could not read the request");
        if host == Host::Envoy {
            let map = hostcalls::get_map(MapType::RequestHeaders).map_err(unreadable)?;
            return Ok(RequestHeaders {
                map,
                host,
                target: None,
            });
        }
        // The map of a request without a host kills an APISIX worker. Envoy refuses
        // such a request by itself.
        let Some(named) =
            hostcalls::get_map_value(MapType::RequestHeaders, "host").map_err(unreadable)?
        else {
            return Err(bad_request("The request has no Host header"));
        };
        let map = match hostcalls::get_map(MapType::RequestHeaders) {
            Err(Status::SERIALIZATION_FAILURE) if host == Host::Kong => {
                return Err(bad_request(TOO_MANY));
            }
            read => read.map_err(unreadable)?,
        };
        if map.len() >= NGINX_MAP_ENTRIES {
            return Err(bad_request(TOO_MANY));
        }
        let variable = |name: &str| {
            let value = match host {
                Host::Apisix => hostcalls::get_property(name),
                _ => hostcalls::get_property(&format!("ngx\0{name}")),
            };
            value.ok().flatten().ok_or_else(|| {
                Refusal::unavailable("The edge could not read a variable of the request")
            })
        };
        // A host in the target is the one that nginx goes by.
        if !matches_host_header(&variable("host")?, &named) {
            return Err(bad_request("The request does not name one host plainly"));
        }
        // A map may show the path decoded, and the upstream gets it as it came. Under this
        // name each of the two modules has it, and the other has not.
        let target = Some(variable("request_uri")?);
        Ok(RequestHeaders { map, host, target })
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
    pub(crate) fn head(&self) -> RequestHead<'_> {
        let mut head = RequestHead {
            nginx: self.host.is_nginx(),
            target: self.target.as_deref(),
            ..RequestHead::default()
        };
        for (name, value) in self.map.iter() {
            let once = match name.len() {
                // Where `:authority` is the server's own name.
                4 if head.nginx && name.eq_ignore_ascii_case(b"host") => &mut head.authority,
                5 if name == b":path" => &mut head.target,
                7 if name == b":method" => &mut head.method,
                10 if !head.nginx && name == b":authority" => &mut head.authority,
                12 if name.eq_ignore_ascii_case(b"content-type") => &mut head.content_type,
                13 if name.eq_ignore_ascii_case(b"authorization") => {
                    head.authorization.push(value);
                    continue;
                }
                18 if name.eq_ignore_ascii_case(RESOURCE_HEADER.as_bytes()) => {
                    head.resource.push(value);
                    continue;
                }
                _ => continue,
            };
            once.get_or_insert(value);
        }
        head
    }

    /// Takes reserved names from a request's trailers: some upstreams read them as
    /// headers.
    pub(crate) fn remove_reserved_trailers(forwarding: &Forwarding) -> Result<(), Status> {
        let trailers = hostcalls::get_map(MapType::RequestTrailers)?;
        for name in reserved_names(&trailers, forwarding) {
            hostcalls::remove_map_value(MapType::RequestTrailers, name)?;
        }
        Ok(())
    }

    /// Takes from the request what the upstream must not see, before anything is
    /// decided: so it is gone whatever the decision is, and however late.
    ///
    /// A request is refused whose `Connection` names a header of the edge's own: the
    /// next hop, or an nginx host itself, would take a verified one away again as one
    /// of this connection alone (RFC 9110 section 7.6.1). Envoy sends `Connection` on
    /// with an upgrade.
    ///
    /// # Errors
    /// The reply to a request from which it cannot be taken.
    pub(crate) fn remove_reserved(&self, forwarding: &Forwarding) -> Result<(), Refusal> {
        let mut named = self
            .all("connection")
            .flat_map(|value| value.split(|b| *b == b','));
        if named.any(|name| forwarding.is_reserved(name.trim_ascii())) {
            return Err(bad_request(
                "Connection names a header that is the edge's own",
            ));
        }
        let reserved = reserved_names(&self.map, forwarding);
        // nginx hosts may not find a name that is written in another way.
        let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_".contains(b);
        if self.host.is_nginx() && !reserved.iter().all(|name| name.iter().all(is_plain)) {
            return Err(bad_request(
                "A header that is the edge's own is written in another way",
            ));
        }
        for name in reserved {
            self.remove_or_blank(name, &[])?;
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
            self.remove_or_blank(b"authorization", &[])?;
        }
        let baggage: Vec<&[u8]> = self.all("baggage").collect();
        match forward::without_caracal_baggage(&baggage.join(&b',')) {
            None => Ok(()),
            Some(rest) => self.remove_or_blank(b"baggage", &rest),
        }
    }

    /// Removes a header, or leaves another value of it. On nginx what is removed may be
    /// sent all the same; and of two that are overwritten Kong does so to one.
    fn remove_or_blank(&self, name: &[u8], rest: &[u8]) -> Result<(), Refusal> {
        let result = if self.host.is_nginx() {
            let same = |(n, _): &(&[u8], &[u8])| n.eq_ignore_ascii_case(name);
            if self.host == Host::Kong && self.map.iter().filter(same).count() > 1 {
                return Err(bad_request(
                    "A header that the edge has to overwrite is there twice",
                ));
            }
            hostcalls::replace_request_header(name, rest)
        } else if rest.is_empty() {
            hostcalls::remove_map_value(MapType::RequestHeaders, name)
        } else {
            hostcalls::remove_map_value(MapType::RequestHeaders, name)
                .and_then(|()| hostcalls::add_request_header(name, rest))
        };
        result.map_err(|_| Refusal::unavailable("The edge could not remove reserved headers"))
    }
}

/// The reserved names in a map. One that is there twice is taken away twice: to find
/// these would cost more than all else that is done to a request.
fn reserved_names<'m>(map: &'m HeaderMap, forwarding: &Forwarding) -> Vec<&'m [u8]> {
    let names = map.iter().map(|(name, _)| name);
    names.filter(|name| forwarding.is_reserved(name)).collect()
}

/// Whether what nginx takes for the host is what the client's header names: in lower
/// case, and without the port.
fn matches_host_header(host: &[u8], header: &[u8]) -> bool {
    let rest = header.get(host.len()..).unwrap_or(b"?");
    let same = header.get(..host.len());
    same.is_some_and(|same| same.eq_ignore_ascii_case(host))
        && (rest.is_empty() || rest.starts_with(b":"))
}

fn bad_request(why: &'static str) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, why)
}
