//! The decision on routes of MCP: which operation a request is, before its mandate is read.

use super::credential::Credential;
use super::verifier::Verifier;
use crate::mcp::headers::McpHeaders;
use crate::mcp::rule::{Head, McpRule, Mirrored, Operation};
use crate::reply::Refusal;
use crate::request::RequestView;
use crate::routing::resources::RouteMatch;
use crate::routing::routes::MethodId;

impl Verifier {
    /// Whether any route has rules of MCP. A request must then be screened with
    /// [`RequestView::mcp`].
    pub fn has_mcp(&self) -> bool {
        self.has_mcp
    }

    /// Where a request stands if a route may have rules of MCP. `at` gets it too, unless
    /// nothing is enough for it there: a challenge then names what the route requires.
    ///
    /// # Errors 400 and 403: it cannot be known which operation it is, or it comes from an
    /// origin that is not allowed.
    #[cold]
    #[inline(never)]
    pub(super) fn match_mcp(
        &self,
        request: &RequestView<'_>,
        mut matched: RouteMatch,
        at: &mut Option<RouteMatch>,
    ) -> Result<RouteMatch, Refusal> {
        let Some((rule, headers)) = self.mcp_rule(request, matched)? else {
            return Ok(matched);
        };
        rule.check_origin(headers)?;
        match rule.read(request.method, headers) {
            Err(refusal) => return Err(self.first_refusal(request, refusal)),
            Ok(Head::Known(None)) => {}
            Ok(Head::Known(Some(operation))) => matched.method = MethodId::Mcp(operation),
            Ok(Head::Unread(_)) => matched.method = MethodId::Mcp(Operation::Unread),
        }
        if self.resources().required(matched).is_some() {
            *at = Some(matched);
        }
        Ok(matched)
    }

    /// What the headers say of a message that has to be read; none if there is none to read.
    pub fn mirrored(
        &self,
        request: &RequestView<'_>,
        credential: &Credential<'_>,
    ) -> Option<Mirrored> {
        let rule = self.mcp_rule(request, credential.matched).ok()?;
        let (rule, headers) = rule.filter(|_| credential.is_unread())?;
        match rule.read_head(request.method, headers) {
            Ok(Head::Unread(mirrored)) => Some(mirrored),
            Ok(Head::Known(_)) | Err(_) => None,
        }
    }

    /// The same request as if its message needed no more than the route does. A mandate that
    /// is refused for it is refused for each message.
    pub fn at_least<'t>(&self, mut credential: Credential<'t>) -> Credential<'t> {
        credential.matched.method = self.method_of_post(credential.matched);
        credential
    }

    /// What applies to a POST without an operation of its own.
    fn method_of_post(&self, matched: RouteMatch) -> MethodId {
        let rules = self.resources().get(matched.resource);
        let method = rules.map(|one| one.rules.method(matched.rule, Some(b"POST")));
        match method {
            Some(Ok(method)) => method,
            // There is no such rule, and nothing is admitted.
            Some(Err(_)) | None => MethodId::Mcp(Operation::Unread),
        }
    }

    /// What the request's route says about MCP, if it says anything, and what the request
    /// says.
    ///
    /// # Errors The request was read without what MCP needs.
    pub(super) fn mcp_rule<'a>(
        &'a self,
        request: &RequestView<'a>,
        matched: RouteMatch,
    ) -> Result<Option<(&'a McpRule, &'a McpHeaders<'a>)>, Refusal> {
        match (self.resources().mcp(matched), request.mcp) {
            (None, _) => Ok(None),
            (Some(mcp), Some(headers)) => Ok(Some((&mcp.rule, headers))),
            (Some(_), None) => Err(Refusal::unavailable("The headers of MCP are not read")),
        }
    }

    /// The longest body that is read for a request, in bytes.
    pub fn max_body(&self, credential: &Credential<'_>) -> usize {
        let mcp = self.resources().mcp(credential.matched);
        mcp.and_then(|mcp| mcp.rule.max_body()).unwrap_or(0)
    }

    /// A credential whose request has been read to its end.
    ///
    /// # Errors 400 `invalid_request`: the body is no message, or is not what the headers
    /// say.
    #[cold]
    #[inline(never)]
    pub fn with_body<'t>(
        &self,
        mut credential: Credential<'t>,
        mirrored: &Mirrored,
        body: &[u8],
    ) -> Result<Credential<'t>, Refusal> {
        let Some(mcp) = self.resources().mcp(credential.matched) else {
            return Err(Refusal::unavailable("The route reads no bodies"));
        };
        credential.matched.method = match mcp.rule.read_body(mirrored, body)? {
            Some(operation) => MethodId::Mcp(operation),
            None => self.method_of_post(credential.matched),
        };
        Ok(credential)
    }
}
