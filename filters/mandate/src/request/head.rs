//! The headers by which a request is judged.

use caracal_mandate::framing::Framing;
use caracal_mandate::header_names::RESOURCE_HEADER;
use caracal_mandate::reply::ReplyFormat;
use caracal_mandate::request::RequestView;

use crate::proxy::adapter::{Authority, Capabilities, RequestHeaders};

/// The first value of each header that may occur only once.
#[derive(Default)]
pub(crate) struct RequestHead<'h> {
    method: Option<&'h [u8]>,
    target: Option<&'h [u8]>,
    authority: Option<&'h [u8]>,
    content_type: Option<&'h [u8]>,
    upgrade: Option<&'h [u8]>,
    resource: Vec<&'h [u8]>,
    authorization: Vec<&'h [u8]>,
    baggage: Vec<&'h [u8]>,
}

impl<'h> RequestHead<'h> {
    /// Finds the headers in one pass, and compares each name with few others.
    pub(crate) fn of(headers: &'h RequestHeaders, capabilities: &Capabilities) -> Self {
        let from_host_header = capabilities.authority == Authority::HostHeader;
        let mut head = RequestHead {
            target: headers.target.as_deref(),
            ..RequestHead::default()
        };
        for (name, value) in headers.map.iter() {
            let once = match name.len() {
                4 if from_host_header && name.eq_ignore_ascii_case(b"host") => &mut head.authority,
                5 if name == b":path" => &mut head.target,
                7 if name == b":method" => &mut head.method,
                7 if name.eq_ignore_ascii_case(b"upgrade") => &mut head.upgrade,
                7 if name.eq_ignore_ascii_case(b"baggage") => {
                    head.baggage.push(value);
                    continue;
                }
                10 if !from_host_header && name == b":authority" => &mut head.authority,
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

    pub(crate) fn view(&self) -> RequestView<'_> {
        RequestView {
            method: self.method,
            target: self.target,
            authority: self.authority,
            resource: &self.resource,
            names_client: false,
            lists_end_to_end: false,
            authorization: &self.authorization,
            mcp: None,
        }
    }

    /// How the request's bytes are framed, if they are.
    pub(crate) fn framing(&self) -> Option<Framing> {
        Framing::of_request(self.upgrade, self.content_type)
    }

    /// Every line of `baggage`.
    pub(crate) fn baggage(&self) -> &[&'h [u8]] {
        &self.baggage
    }

    /// The format in which the client expects a reply.
    pub(crate) fn reply_format(&self, capabilities: &Capabilities) -> ReplyFormat {
        match capabilities.grpc_replies {
            true => ReplyFormat::for_content_type(self.content_type),
            false => ReplyFormat::Http,
        }
    }
}
