//! A token that may be a mandate, as far as it can be known without keys.

use std::borrow::Cow;
use std::rc::Rc;

use crate::mcp::rule::Operation;
use crate::routing::resources::{ResourceId, RouteMatch};
use crate::routing::routes::MethodId;
use crate::token::fingerprint::Fingerprint;
use crate::token::jws::UnverifiedMandate;
use crate::token::mandate::Mandate;
use crate::zone::ZoneIndex;

/// The result of the checks without any dependency (rows 0 to 2 and the unsigned part of
/// row 3).
#[derive(Debug)]
pub enum Screened<'t> {
    /// Under an excluded prefix: continue unverified.
    Excluded,
    /// It carries a token, which needs the zone's keys.
    Credential(Credential<'t>),
}

/// A token that may be a mandate, and the route of the request that carries it.
pub struct Credential<'t> {
    pub(super) matched: RouteMatch,
    /// None if the token names no zone that is accepted for this resource.
    pub(super) zone: Option<ZoneIndex>,
    pub(super) fingerprint: Fingerprint,
    pub(super) token: Token<'t>,
}

pub(super) enum Token<'t> {
    /// A token that was verified before. Its unsigned part was checked then and cannot
    /// have changed.
    Known(Cow<'t, [u8]>, Rc<Mandate>),
    New(UnverifiedMandate),
}

impl Credential<'_> {
    /// The token's fingerprint, verified or not.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The resource that the request is for.
    pub fn resource(&self) -> ResourceId {
        self.matched.resource
    }

    /// The zone whose key set judges the token. None if the token is refused without one.
    pub fn zone(&self) -> Option<ZoneIndex> {
        self.zone
    }

    /// Where the request stands in the configuration.
    pub fn matched(&self) -> RouteMatch {
        self.matched
    }

    /// Whether it is of a request to an MCP server whose message decides, and has not been
    /// read. No decision admits it.
    pub fn is_unread(&self) -> bool {
        self.matched.method == MethodId::Mcp(Operation::Unread)
    }

    /// The token itself, to be exchanged. Never log it.
    pub fn token(&self) -> &[u8] {
        match &self.token {
            Token::Known(token, _) => token,
            Token::New(token) => token.as_bytes(),
        }
    }

    /// The same as an owned value, which outlives the request's headers.
    pub fn into_owned(self) -> Credential<'static> {
        Credential {
            matched: self.matched,
            zone: self.zone,
            fingerprint: self.fingerprint,
            token: match self.token {
                Token::Known(token, mandate) => {
                    Token::Known(Cow::Owned(token.into_owned()), mandate)
                }
                Token::New(token) => Token::New(token),
            },
        }
    }
}

/// Leaves out the token: debug output must not leak a credential.
impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("matched", &self.matched)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}
