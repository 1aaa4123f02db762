//! The differences between the proxies. Each proxy has one file, which can be read by
//! itself. To add a proxy, add a file and its lines here.
//!
//! This room has facts about each proxy, how a request and a callout response are read,
//! and how a request is changed. No other room asks which proxy it runs in. It uses only
//! `abi`.

pub(crate) mod adapter;
mod apisix;
pub(crate) mod callout;
mod envoy;
mod kong;
mod nginx;

use caracal_mandate::config::{Configuration, ProxyKind};
use caracal_mandate::jwks::signature::PublicKey;
use caracal_mandate::reply::Refusal;

use crate::abi::exports::HttpCallResponse;
use crate::abi::header_map::HeaderMap;
use crate::abi::hostcalls::Status;
use crate::proxy::adapter::{Capabilities, Ending, ProxyAdapter, RequestHeaders, SeenResponse};
use crate::proxy::apisix::Apisix;
use crate::proxy::callout::CalloutResult;
use crate::proxy::envoy::Envoy;
use crate::proxy::kong::Kong;

/// The configured proxy. Code outside this room cannot tell which one it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proxy(ProxyKind);

/// Passes a call to the adapter of the proxy.
macro_rules! ask {
    ($proxy:ident, $item:ident $($arguments:tt)?) => {
        match $proxy.0 {
            ProxyKind::Envoy => Envoy::$item $($arguments)?,
            ProxyKind::Kong => Kong::$item $($arguments)?,
            ProxyKind::Apisix => Apisix::$item $($arguments)?,
        }
    };
}

impl Proxy {
    pub(crate) fn of(configuration: &Configuration) -> Self {
        Proxy(configuration.host)
    }

    pub(crate) fn capabilities(self) -> &'static Capabilities {
        match self.0 {
            ProxyKind::Envoy => &Envoy::CAPABILITIES,
            ProxyKind::Kong => &Kong::CAPABILITIES,
            ProxyKind::Apisix => &Apisix::CAPABILITIES,
        }
    }

    /// See [`ProxyAdapter::verify_kind`].
    pub(crate) fn verify_kind(self) -> Result<(), Refusal> {
        ask!(self, verify_kind())
    }

    /// See [`ProxyAdapter::takes_other_periods`].
    #[cold]
    pub(crate) fn takes_other_periods(self) -> bool {
        ask!(self, takes_other_periods())
    }

    /// See [`ProxyAdapter::read_request`].
    pub(crate) fn read_request(self) -> Result<RequestHeaders, Refusal> {
        ask!(self, read_request())
    }

    /// See [`ProxyAdapter::check_reserved_names`].
    pub(crate) fn check_reserved_names(self, names: &[&[u8]]) -> Result<(), Refusal> {
        ask!(self, check_reserved_names(names))
    }

    /// See [`ProxyAdapter::hide_header`].
    #[inline(never)]
    pub(crate) fn hide_header(
        self,
        headers: &RequestHeaders,
        name: &[u8],
        rest: &[u8],
    ) -> Result<(), Refusal> {
        ask!(self, hide_header(headers, name, rest))
    }

    /// Hides a header of which the request has at most one, when it is decided: its other
    /// headers may not be there any more.
    #[cold]
    #[inline(never)]
    pub(crate) fn hide_only(self, name: &[u8]) -> Result<(), Refusal> {
        let headers = RequestHeaders {
            map: HeaderMap::default(),
            target: None,
            doubtful: None,
        };
        self.hide_header(&headers, name, &[])
    }

    /// See [`ProxyAdapter::set_header`].
    pub(crate) fn set_header(self, name: &[u8], value: &[u8]) -> Result<(), Status> {
        ask!(self, set_header(name, value))
    }

    /// See [`ProxyAdapter::set_variable`].
    pub(crate) fn set_variable(self, name: &str, value: &str) -> Result<(), Status> {
        ask!(self, set_variable(name, value))
    }

    /// See [`ProxyAdapter::remove_header`].
    #[cold]
    #[inline(never)]
    pub(crate) fn remove_header(self, name: &[u8]) -> Result<(), Status> {
        ask!(self, remove_header(name))
    }

    /// See [`ProxyAdapter::set_upstream`].
    #[cold]
    #[inline(never)]
    pub(crate) fn set_upstream(self, authority: &[u8], target: &[u8]) -> Result<(), Status> {
        ask!(self, set_upstream(authority, target))
    }

    /// See [`ProxyAdapter::has_response_value`].
    #[cold]
    #[inline(never)]
    pub(crate) fn has_response_value(self, name: &str, is_like: fn(&[u8]) -> bool) -> bool {
        ask!(self, has_response_value(name, is_like))
    }

    /// See [`ProxyAdapter::peer_address`].
    #[cold]
    #[inline(never)]
    pub(crate) fn peer_address(self) -> Option<Vec<u8>> {
        ask!(self, peer_address())
    }

    /// See [`ProxyAdapter::client_scheme`].
    #[cold]
    #[inline(never)]
    pub(crate) fn client_scheme(self) -> &'static [u8] {
        ask!(self, client_scheme())
    }

    /// See [`ProxyAdapter::ending`].
    #[cold]
    #[inline(never)]
    pub(crate) fn ending(self, seen: SeenResponse) -> Option<Ending> {
        ask!(self, ending(seen))
    }

    /// See [`ProxyAdapter::reply_details`].
    pub(crate) fn reply_details(self, http_status: u16, code: &str) -> String {
        ask!(self, reply_details(http_status, code))
    }

    /// See [`ProxyAdapter::read_callout`].
    #[inline(never)]
    pub(crate) fn read_callout(self, response: HttpCallResponse, max: usize) -> CalloutResult {
        ask!(self, read_callout(response, max))
    }

    /// See [`ProxyAdapter::verify_signature`].
    #[inline(never)]
    pub(crate) fn verify_signature(
        self,
        key: &PublicKey,
        message: &[u8],
        signature: &[u8],
    ) -> Option<bool> {
        ask!(self, verify_signature(key, message, signature))
    }
}
