//! What is read of a request before its mandate is.

/// What of a request is read before its mandate is. All of it is the client's word,
/// as it was received: before reserved headers are removed.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestView<'t> {
    /// The method (`:method`).
    pub method: Option<&'t [u8]>,
    /// The request target (`:path`), with its query.
    pub target: Option<&'t [u8]>,
    /// Host and port (`:authority`).
    pub authority: Option<&'t [u8]>,
    /// The value of every `X-Caracal-Resource` header.
    pub resource: &'t [&'t [u8]],
    /// Whether an `X-Caracal-Client-ID` with a value is there.
    pub names_client: bool,
    /// The value of every `Authorization` header.
    pub authorization: &'t [&'t [u8]],
}
