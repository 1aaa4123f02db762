//! What is said of Gateway mode besides: the client's answer has the names of Caracal's
//! Gateway, and the exchange is not made.

use caracal_mandate::decision::explain::Traced;
use caracal_mandate::exchange::request_id::usable_id;
use caracal_mandate::exchange::rewrite::check_request;
use caracal_mandate::reply::{Refusal, Reply, ReplyFormat};

use super::request::Request;
use super::subject::Subject;

/// The condition of every request that would be exchanged.
pub(super) const NOT_EXPLAINED: &str = "if the STS grants the exchange, for the configured upstream (rows G8 to G11): explain does not ask for it, because that would use the mandate up";
/// Stands for the id that the edge gives to a request without a good one.
const NEW_ID: &str = "(a new id)";

/// The verdict with what the edge checks of the request itself before it has the mandate
/// exchanged (row G11).
pub(super) fn before_exchange(verdict: Traced, request: &Request) -> Traced {
    match (verdict, check_request(&request.method, &request.target)) {
        (Traced::Admitted, Err(refusal)) => Traced::Refused(refusal),
        (verdict, _) => verdict,
    }
}

/// What to change where no check failed: the request itself cannot be sent on.
pub(super) fn change(refusal: &Refusal) -> String {
    format!(
        "The caller changes the request (row G11): {}. {}",
        refusal.description(),
        refusal.hint()
    )
}

/// The reply, and the `error` in it.
pub(super) fn reply(
    refusal: &Refusal,
    format: ReplyFormat,
    subject: &Subject<'_>,
) -> (Reply, &'static str) {
    let ids = subject.request.all("x-request-id");
    let own = ids.first().and_then(|id| usable_id(id));
    let reply = Reply::of_gateway(refusal, format, own.unwrap_or(NEW_ID));
    (reply, refusal.code().of_gateway().1)
}
