//! The codes of refusals, and the one table from a code to what clients get.

/// The `error` of a refusal (contract, "Order of checks").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorCode {
    /// The path cannot be matched safely, or no resource can be chosen.
    InvalidRequest,
    /// No bearer credential.
    MissingToken,
    /// The credential is not an acceptable mandate.
    InvalidToken,
    /// The mandate is from another zone.
    InvalidZone,
    /// A required scope is missing.
    InsufficientScope,
    /// The route needs an agent session.
    SessionRequired,
    /// The route needs delegated authority.
    DelegationRequired,
    /// A required application is not a hop of the delegation chain.
    ChainMismatch,
    /// The mandate was delegated through too many hops.
    HopCountExceeded,
    /// One of the mandate's anchors is revoked.
    SessionRevoked,
    /// The zone's delegation graph changed after the mandate was issued.
    DelegationStale,
    /// Something that the decision needs is missing.
    StsUnavailable,
    /// Gateway mode: the mandate ends too soon to be exchanged (row G3).
    CredentialExpiring,
    /// Gateway mode: no such resource, or none that the mandate is for (rows G2 and G5).
    AccessDenied,
    /// Gateway mode: the mandate was used before (row G8).
    TokenReplay,
    /// Gateway mode: the STS refused the exchange, in its own words (row G9).
    ExchangeRefused,
    /// Gateway mode: the exchange came to no result (row G9).
    ExchangeFailed,
    /// Gateway mode: the STS named another upstream than the configuration (row G10).
    UpstreamMismatch,
    /// Gateway mode: the request to the upstream cannot be made (row G11).
    UpstreamRequest,
    /// MCP: the request comes from an origin that is not allowed (row 0).
    OriginDenied,
    /// MCP: the tool is not listed (row 14).
    ToolDenied,
    /// MCP: the body is longer than what is read.
    BodyTooLarge,
    /// MCP: the body has not come in time.
    BodyTimeout,
}

impl ErrorCode {
    /// The codes of Gateway mode alone.
    pub const GATEWAY: [ErrorCode; 7] = [
        ErrorCode::CredentialExpiring,
        ErrorCode::AccessDenied,
        ErrorCode::TokenReplay,
        ErrorCode::ExchangeRefused,
        ErrorCode::ExchangeFailed,
        ErrorCode::UpstreamMismatch,
        ErrorCode::UpstreamRequest,
    ];

    /// The codes of routes of MCP alone.
    pub const MCP: [ErrorCode; 4] = [
        ErrorCode::OriginDenied,
        ErrorCode::ToolDenied,
        ErrorCode::BodyTooLarge,
        ErrorCode::BodyTimeout,
    ];

    /// Every code of connector mode without MCP, for metrics and documentation.
    pub const ALL: [ErrorCode; 12] = [
        ErrorCode::InvalidRequest,
        ErrorCode::MissingToken,
        ErrorCode::InvalidToken,
        ErrorCode::InvalidZone,
        ErrorCode::InsufficientScope,
        ErrorCode::SessionRequired,
        ErrorCode::DelegationRequired,
        ErrorCode::ChainMismatch,
        ErrorCode::HopCountExceeded,
        ErrorCode::SessionRevoked,
        ErrorCode::DelegationStale,
        ErrorCode::StsUnavailable,
    ];

    /// The value of `error` on the wire.
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status.
    pub fn http_status(self) -> u16 {
        self.row().1
    }

    /// The gRPC status code that says the same.
    pub fn grpc_status(self) -> u8 {
        self.row().2
    }

    /// What the caller can do about it, in general.
    pub(super) fn hint(self) -> &'static str {
        self.row().3
    }

    /// The `error` of the `Bearer` challenge (RFC 6750 section 3): `None` where
    /// there is no challenge, `Some(None)` for one without an error.
    pub(super) fn challenge(self) -> Option<Option<&'static str>> {
        match self {
            ErrorCode::MissingToken => Some(None),
            ErrorCode::InsufficientScope => Some(Some("insufficient_scope")),
            _ if self.http_status() == 401 => Some(Some("invalid_token")),
            _ => None,
        }
    }

    #[rustfmt::skip]
    fn row(self) -> (&'static str, u16, u8, &'static str) {
        const INVALID_ARGUMENT: u8 = 3;
        const DEADLINE_EXCEEDED: u8 = 4;
        const PERMISSION_DENIED: u8 = 7;
        const RESOURCE_EXHAUSTED: u8 = 8;
        const UNAVAILABLE: u8 = 14;
        const UNAUTHENTICATED: u8 = 16;
        match self {
            ErrorCode::InvalidRequest => ("invalid_request", 400, INVALID_ARGUMENT,
                "Send a path that every server reads the same way: no encoded or doubled slashes, no dot segments."),
            ErrorCode::MissingToken => ("missing_token", 401, UNAUTHENTICATED,
                "Send Authorization: Bearer <Caracal mandate>."),
            ErrorCode::InvalidToken => ("invalid_token", 401, UNAUTHENTICATED,
                "Check the mandate's issuer, audience, signature, expiry, use, scopes and targets, and send it once."),
            ErrorCode::InvalidZone => ("invalid_zone", 401, UNAUTHENTICATED,
                "Check the zone that this edge is configured with against the mandate's zone_id."),
            ErrorCode::InsufficientScope => ("insufficient_scope", 403, PERMISSION_DENIED,
                "Request a mandate that has every scope this route requires."),
            ErrorCode::SessionRequired => ("session_required", 403, PERMISSION_DENIED,
                "Use a mandate that was issued for an agent session."),
            ErrorCode::DelegationRequired => ("delegation_required", 403, PERMISSION_DENIED,
                "Use a mandate that came from a delegated grant."),
            ErrorCode::ChainMismatch => ("chain_mismatch", 403, PERMISSION_DENIED,
                "Check require_chain_contains against the mandate's delegation chain."),
            ErrorCode::HopCountExceeded => ("hop_count_exceeded", 403, PERMISSION_DENIED,
                "Delegate through fewer hops, or raise max_hop_count deliberately."),
            ErrorCode::SessionRevoked => ("session_revoked", 401, UNAUTHENTICATED,
                "Get a new mandate, or start a new authorized session."),
            ErrorCode::DelegationStale => ("delegation_stale", 401, UNAUTHENTICATED,
                "Get a new mandate, issued against the current delegation graph."),
            ErrorCode::StsUnavailable => ("sts_unavailable", 503, UNAVAILABLE,
                "Retry; if it lasts, check that the edge reaches the STS and the revocation feed."),
            ErrorCode::CredentialExpiring => ("credential_expiring", 401, UNAUTHENTICATED,
                "Get a new mandate, and send it at once."),
            ErrorCode::AccessDenied => ("access_denied", 403, PERMISSION_DENIED,
                "Name a resource that is served here in X-Caracal-Resource, and get a mandate for it."),
            ErrorCode::TokenReplay => ("token_replay", 401, UNAUTHENTICATED,
                "Get a new mandate for each request."),
            ErrorCode::ExchangeRefused => ("exchange_refused", 403, PERMISSION_DENIED,
                "Ask who administers the zone; the STS refused it."),
            ErrorCode::ExchangeFailed => ("exchange_failed", 502, UNAVAILABLE,
                "Retry with a new mandate; if it lasts, check the companion and the STS."),
            ErrorCode::UpstreamMismatch => ("upstream_mismatch", 502, UNAVAILABLE,
                "Compare the resource's upstream_url with what the STS has for it."),
            ErrorCode::UpstreamRequest => ("upstream_request", 400, INVALID_ARGUMENT,
                "Send a query that can be parsed, with & between its parameters."),
            ErrorCode::OriginDenied => ("origin_denied", 403, PERMISSION_DENIED,
                "Add the origin to the route's mcp.origins, if its pages may call this server."),
            ErrorCode::ToolDenied => ("tool_denied", 403, PERMISSION_DENIED,
                "Call a tool that the route lists, or add the tool to the route's mcp.tools."),
            ErrorCode::BodyTooLarge => ("body_too_large", 413, RESOURCE_EXHAUSTED,
                "Send a shorter message, or raise limits.max_body_bytes deliberately."),
            ErrorCode::BodyTimeout => ("body_timeout", 408, DEADLINE_EXCEEDED,
                "Send the whole message at once; if it lasts, check allow_on_headers_stop_iteration."),
        }
    }
}
