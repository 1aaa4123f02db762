//! What Gateway mode refuses of a request's headers, whichever resource they are for.

use crate::reply::{ErrorCode, Refusal};
use crate::request::RequestView;

/// Gateway mode: who acts is said by the mandate alone (row G2).
pub(super) fn named_client() -> Refusal {
    Refusal::new(
        ErrorCode::InvalidRequest,
        "X-Caracal-Client-ID is there; the client is the one of the mandate",
    )
    .with_hint("Leave X-Caracal-Client-ID out.")
}

/// What row G2 refuses of the headers besides, whichever resource they are for.
pub(super) fn said_of_headers(request: &RequestView<'_>) -> Option<Refusal> {
    match (request.names_client, request.lists_end_to_end) {
        (true, _) => Some(named_client()),
        (false, true) => Some(listed_end_to_end()),
        (false, false) => None,
    }
}

/// A `Connection` that would take from the upstream what is not this hop's (row G2).
#[cold]
pub fn listed_end_to_end() -> Refusal {
    Refusal::new(
        ErrorCode::InvalidRequest,
        "Connection lists a header that must not be removed on the way",
    )
    .with_hint("List only headers of this connection in Connection.")
}
