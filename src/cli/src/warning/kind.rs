//! The kinds of warning, and one warning.

use serde::Serialize;

/// One kind of warning. Names are stable: scripts go by them.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// When it is given; a row of docs/reference/warnings.md.
    when: &'static str,
    /// What happens then.
    why: &'static str,
    fix: &'static str,
}

macro_rules! kinds {
    ($($id:ident: $name:literal, $when:literal, $why:literal, $fix:literal;)*) => {
        $(pub(crate) const $id: Kind = Kind { name: $name, when: $when, why: $why, fix: $fix };)*
        /// Every kind, in the order of the documentation.
        pub(crate) const ALL: &[&Kind] = &[$(&$id),*];
    };
}

kinds! {
    FAIL_OPEN: "fail_open",
        "`failure_policy: FAIL_OPEN`, `fail_open: true` or `is_optional: true` in Envoy, `failStrategy: FAIL_OPEN` in Istio, `failOpen: true` in Envoy Gateway",
        "a filter that cannot run is skipped, and requests pass unverified",
        "Envoy: failure_policy: FAIL_RELOAD, without is_optional; Istio: failStrategy: FAIL_RELOAD; Envoy Gateway: failOpen: false";
    MATCH_MODE: "match_mode",
        "the `match` of an Istio WasmPlugin or TrafficExtension has a `mode` that its `targetRefs` do not serve: `SERVER` for a Gateway, `CLIENT` for a Service or ServiceEntry",
        "Istio then installs no filter and says nothing, so requests pass unverified",
        "leave mode out: that serves gateways and waypoints";
    NORMALIZE_PATH: "normalize_path",
        "the connection manager's `normalize_path` is not true",
        "Envoy chooses a route by a path with dot segments as it was sent, and a service may resolve them",
        "normalize_path: true";
    MERGE_SLASHES: "merge_slashes",
        "the connection manager's `merge_slashes` is not true",
        "Envoy chooses a route by a path with empty segments as it was sent, and a service may leave them out",
        "merge_slashes: true";
    ESCAPED_SLASHES: "escaped_slashes",
        "the connection manager's `path_with_escaped_slashes_action` is neither `REJECT_REQUEST`, `UNESCAPE_AND_REDIRECT` nor `UNESCAPE_AND_FORWARD`",
        "a service may read %2F as a slash where Envoy does not",
        "path_with_escaped_slashes_action: REJECT_REQUEST";
    UNDERSCORES: "underscores",
        "the connection manager's `common_http_protocol_options.headers_with_underscores_action` is neither `REJECT_REQUEST` nor `DROP_HEADER`",
        "a service may read x_caracal_sub, which a client can send, as x-caracal-sub, which only the filter may set",
        "common_http_protocol_options: { headers_with_underscores_action: REJECT_REQUEST }";
    TIMEOUT_ZERO: "timeout_zero",
        "a timeout of the connection manager (`stream_idle_timeout`, `request_timeout`, `request_headers_timeout`, `common_http_protocol_options.idle_timeout`) or of a route (`timeout`, `idle_timeout`) is 0",
        "0 means no limit: a request that a lost VM left behind never ends",
        "write how long it may take, for example 60s";
    UNKNOWN_CLUSTER: "unknown_cluster",
        "a route, `jwks.upstream`, `revocation.upstream` or `gateway.upstream` names a cluster that is not in the file; only where the file lists clusters and no `cds_config` brings others",
        "Envoy does not start with such a route, and the filter's calls to such a cluster fail, so that requests get 503",
        "add the cluster, or write the name as it stands under clusters";
    HOSTS_WITHOUT_DOMAIN: "hosts_without_domain",
        "a host in a resource's `hosts` is no entry of its own in `domains` of the listener's virtual hosts",
        "Envoy does not choose the service by this host, so a request for this resource may reach another's service, or none",
        "give the host its own entry in domains, with the port where requests name one";
    UPSTREAM_WITHOUT_DOMAIN: "upstream_without_domain",
        "Gateway mode: the host of a resource's `upstream_url` is no entry of its own in `domains` of the listener's virtual hosts",
        "after the exchange Envoy chooses the route by this host, so the request goes with its credential to another service, or to none",
        "add a virtual host with this domain, with the port where the URL has one, and route it to that service";
    UPSTREAM_UNVERIFIED: "upstream_unverified",
        "no snippet of APISIX's config.yaml has `proxy_ssl_verify on`, or one has `proxy_ssl_verify off`",
        "nginx does not verify the certificate of an https upstream, and sends it a mandate, or in Gateway mode a provider's credential",
        "nginx_config.http_server_configuration_snippet: proxy_ssl_verify on; proxy_ssl_verify_depth 5; the CAs are those of apisix.ssl.ssl_trusted_certificate";
    UPSTREAM_URI_LOGGED: "upstream_uri_logged",
        "APISIX's config.yaml has no `nginx_config.http.access_log_format`, or one with `$upstream_uri` or `$http_authorization`, and does not turn the access log off",
        "the access log gets the URI that the upstream gets, which in Gateway mode may have an API key in its query, or the upstream's credential",
        "an access_log_format without these variables, as in deploy/apisix/config.yaml";
    CREDENTIAL_COPIED: "credential_copied",
        "Gateway mode in APISIX: a guarded route also has `proxy-mirror`, `proxy-cache`, or a logger that has no `log_format`, one with `$http_authorization` or `$upstream_uri`, or `meta_format: origin`",
        "the request that the upstream gets is copied with its credential, or its response is given to other callers",
        "leave proxy-mirror and proxy-cache out, and give the logger a log_format without headers of the request";
    BODY_NOT_SHOWN: "body_not_shown",
        "a route's `mcp.body` is true, and the filter's `config` in Envoy has no `allow_on_headers_stop_iteration: true`",
        "Envoy then shows the filter no message, and each POST to the MCP server gets 408",
        "allow_on_headers_stop_iteration: true, beside configuration";
    SHADOW: "shadow",
        "`enforcement` is `shadow`, at the top or in a route",
        "what is refused there goes on to the service unverified: the edge decides, counts and records, and protects nothing",
        "enforcement: enforce (the default), once the refusals are those that you want";
    NOTHING_REQUIRED: "nothing_required",
        "a rule of the configuration requires nothing: no scope, target, session, delegation or chain, and the usual `max_hop_count`",
        "every mandate for this audience may do everything there",
        "set required_scopes, or another requirement";
    METADATA_HOST: "metadata_host",
        "the host of a resource's `metadata.resource` is none of its `hosts`",
        "clients look for the document at that host, where it is not answered unless something before the proxy changes the host",
        "add the host to hosts, or write the host that clients use in metadata.resource";
    BAGGAGE_KEPT: "baggage_kept",
        "`forward.baggage` is `keep`",
        "the caller's `caracal.*` members go on, which nobody has signed: a service that believes them, as Caracal's SDK does with `trusted_propagation`, believes the caller",
        "forward.baggage: remove (the default), or verified";
    BAGGAGE_EXCLUDED: "baggage_excluded",
        "`forward.baggage` is `verified` and there are excluded paths",
        "an excluded path keeps the caller's `baggage`, so a service that believes `caracal.*` members on all its paths believes the caller there",
        "let the service believe them on verified paths only, or leave exclude out";
    AUTHORIZATION_EXCLUDED: "authorization_excluded",
        "there are excluded paths, and `forward.authorization` is false, as it always is in Gateway mode",
        "an excluded path keeps the caller's `Authorization`: the service there gets a mandate that somebody sends by mistake, in Gateway mode one that is not used up",
        "exclude only paths of services that may see mandates, and tell clients to send none there";
    CLAIMS_OMITTED: "claims_omitted",
        "`forward.unsendable` is `omit` and claims are forwarded",
        "a service takes a mandate whose session or delegation cannot be sent in a header for one without it",
        "forward.unsendable: refuse (the default)";
    SHADOWED_PREFIX: "shadowed_prefix",
        "every path under a prefix can also be read as one under a shorter prefix, as `/v1.0` beside `/v1`; or a prefix differs from one of a route of MCP in upper and lower case only",
        "some frameworks read its paths as ones under the other prefix, and what can be read in two ways is answered 400",
        "use prefixes that go on with a letter, a digit, - or _, and spell one in one way";
}

/// A warning, with where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Warning {
    pub(crate) name: &'static str,
    #[serde(rename = "where")]
    pub(crate) place: String,
    pub(crate) why: String,
    fix: &'static str,
}

impl Warning {
    pub(crate) fn new(kind: &Kind, place: &str) -> Self {
        Warning {
            name: kind.name,
            place: place.to_owned(),
            why: kind.why.to_owned(),
            fix: kind.fix,
        }
    }

    /// The same, where the file that it is in is a part of another.
    pub(crate) fn within(self, place: &str) -> Self {
        Warning {
            place: inside(place, &self.place),
            ..self
        }
    }

    /// With what was found, said before the reason.
    pub(crate) fn found(kind: &Kind, place: &str, found: &str) -> Self {
        Warning {
            why: format!("{found}: {}", kind.why),
            ..Warning::new(kind, place)
        }
    }
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.name)?;
        if !self.place.is_empty() {
            write!(f, " at {}", self.place)?;
        }
        write!(f, ": {}. To do: {}", self.why, self.fix)
    }
}

/// Parts of a place, from the outside in.
pub(crate) fn inside(place: &str, part: &str) -> String {
    match (place, part) {
        (place, "") => place.to_owned(),
        ("", part) => part.to_owned(),
        (place, part) => format!("{place}, {part}"),
    }
}
