//! Who may see the page, and what a browser may do with it.
//!
//! A browser runs pages of others too. They must not read this one (through a name of their
//! own that resolves to this machine), show it in a frame, or send its form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use caracal_feed::token::{basic_password, bearer};

use super::shared::Page;

/// Every answer has these. `same-origin` keeps the referrer from other sites; with
/// `no-referrer` browsers would not say where a form comes from.
const HEADERS: [(&str, &str); 8] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-frame-options", "DENY"),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    (
        "permissions-policy",
        "camera=(), geolocation=(), microphone=()",
    ),
];

pub(super) async fn guarded(
    Shared(page): Shared<Arc<Page>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match refusal(&page, &request) {
        Some(refused) => refused,
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

fn refusal(page: &Page, request: &Request) -> Option<Response> {
    let refused = |status: StatusCode, why: &'static str| Some((status, why).into_response());
    let headers = request.headers();
    let Some(host) = single(headers, header::HOST).filter(|host| is_own(page, host)) else {
        return refused(
            StatusCode::MISDIRECTED_REQUEST,
            "This page is for localhost, the address that the companion listens on, and names given with --page-host.\n",
        );
    };
    if request.method() == Method::POST && !is_same_origin(headers, host) {
        return refused(
            StatusCode::FORBIDDEN,
            "Only the form on this page may be sent here.\n",
        );
    }
    let token = page.token.as_ref()?;
    let (bearer, password) = (bearer(headers), basic_password(headers));
    let given = bearer.map(String::into_bytes).or(password);
    if token.is(given.as_deref()) {
        return None;
    }
    // A browser asks without it first.
    if headers.contains_key(header::AUTHORIZATION) {
        page.companion.metrics.unauthorized();
        if let Some(count) = page.unauthorized.tell() {
            tracing::warn!(count, "requests of the page with another token");
        }
    }
    let why = "This page needs the companion's token: as the password, with any user name.\n";
    let mut response = (StatusCode::UNAUTHORIZED, why).into_response();
    let challenge = r#"Basic realm="Caracal companion", charset="UTF-8""#;
    let challenge = HeaderValue::from_static(challenge);
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    Some(response)
}

/// The only value of a header.
fn single(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Whether a request is for this page by a name that nobody else can own. A page at another
/// name that resolves to this machine would otherwise be of one origin with this one. An
/// address is nobody's name.
fn is_own(page: &Page, host: &str) -> bool {
    // After the last colon comes the port, unless the colon is of an address in brackets.
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => match port.parse::<u16>() {
            Ok(_) => name,
            Err(_) => return false,
        },
        _ => host,
    };
    let inner = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = match inner {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => name.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    let Some(address) = address else {
        let name = name.to_ascii_lowercase();
        return name == "localhost" || page.hosts.contains(&name);
    };
    let (address, listen) = (address.to_canonical(), page.listen.to_canonical());
    address.is_loopback() || address == listen || listen.is_unspecified()
}

/// Whether a page of this origin sent the request. Browsers set both headers, and no page can
/// change them; over plain HTTP beyond loopback they leave out the second.
fn is_same_origin(headers: &HeaderMap, host: &str) -> bool {
    let origin = single(headers, header::ORIGIN);
    let origin = origin.and_then(|origin| {
        let http = origin.strip_prefix("http://");
        http.or_else(|| origin.strip_prefix("https://"))
    });
    let site = headers.get_all("sec-fetch-site").iter();
    origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host))
        && site.into_iter().all(|site| site == "same-origin")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn only_the_page_itself_sends_the_form() {
        let is = |all: &[(&'static str, &str)]| is_same_origin(&headers(all), "localhost:7700");
        let own = ("origin", "http://localhost:7700");
        assert!(is(&[own]));
        assert!(is(&[("origin", "https://LOCALHOST:7700")]));
        assert!(is(&[own, ("sec-fetch-site", "same-origin")]));
        for bad in [
            &[][..],
            &[("origin", "null")],
            &[("origin", "localhost:7700")],
            &[("origin", "http://localhost:7701")],
            &[("origin", "http://localhost:7700.evil.test")],
            &[("origin", "http://evil.test"), own],
            &[own, ("sec-fetch-site", "same-site")],
            &[own, ("sec-fetch-site", "cross-site")],
            &[own, ("sec-fetch-site", "none")],
            &[
                own,
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-site", "cross-site"),
            ],
            &[("sec-fetch-site", "same-origin")],
        ] {
            assert!(!is(bad), "{bad:?}");
        }
    }
}
