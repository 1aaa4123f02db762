//! What routes of MCP ask of a decision besides.

use caracal_mandate::decision::verifier::Credential;
use caracal_mandate::mcp::rule::Mirrored;
use caracal_mandate::reply::Refusal;
use caracal_mandate::request::RequestView;

use crate::vm::authorizer::Authorizer;

impl Authorizer {
    /// Whether any route has rules of MCP.
    pub(crate) fn has_mcp(&self) -> bool {
        self.verifier.has_mcp()
    }

    /// What the headers say of a message that has to be read; none if there is none.
    pub(crate) fn mirrored(
        &self,
        request: &RequestView<'_>,
        credential: &Credential<'_>,
    ) -> Option<Mirrored> {
        self.verifier.mirrored(request, credential)
    }

    /// A credential as if its message needed no more than the route does.
    pub(crate) fn at_least<'t>(&self, credential: Credential<'t>) -> Credential<'t> {
        self.verifier.at_least(credential)
    }

    /// The longest message that is read for a request, in bytes.
    pub(crate) fn max_body(&self, credential: &Credential<'_>) -> usize {
        self.verifier.max_body(credential)
    }

    /// A credential whose message has been read.
    ///
    /// # Errors The reply to a message that cannot be read.
    pub(crate) fn with_body<'t>(
        &self,
        credential: Credential<'t>,
        mirrored: &Mirrored,
        body: &[u8],
    ) -> Result<Credential<'t>, Refusal> {
        self.verifier.with_body(credential, mirrored, body)
    }
}
