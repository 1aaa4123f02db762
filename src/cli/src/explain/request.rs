//! The request that is explained: from flags, or from a recorded request head.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use caracal_mandate::exchange::rewrite::lists_end_to_end;
use caracal_mandate::header_names::RESOURCE_HEADER;
use caracal_mandate::mcp::headers::McpHeaders;
use caracal_mandate::request::RequestView;
use clap::Args;

use crate::configured::read_file;
use crate::mcp_options::McpArguments;

/// In Gateway mode it must not be there.
pub(crate) const CLIENT_ID_HEADER: &str = "x-caracal-client-id";

#[derive(Args)]
pub(crate) struct RequestArguments {
    /// The request's path, with or without a query.
    #[arg(long, required_unless_present_any = ["request", "request_id"])]
    path: Option<String>,
    /// The request's method. Default: GET, or POST for a message of MCP.
    #[arg(long)]
    method: Option<String>,
    #[command(flatten)]
    mcp: McpArguments,
    /// The request's host.
    #[arg(long)]
    host: Option<String>,
    /// The request's X-Caracal-Resource.
    #[arg(long)]
    resource: Option<String>,
    /// Another header of the request, as `NAME: VALUE`; may be given often. A token
    /// does not belong here: a process list shows it.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The token, or `-` for standard input: the mandate alone, or with `Bearer` before
    /// it. Without this option the request has no token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Instead of those: the head of a recorded HTTP/1.1 request, `-` for standard
    /// input. A message of MCP may follow it. `curl -v` prints one, its `> ` before each line may stay.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["path", "method", "host", "resource", "headers", "token_file", "claims", "mcp_method", "mcp_tool", "mcp_version"])]
    request: Option<PathBuf>,
    /// Instead of a token: its claims as a JSON document, or `-` for standard input. Then
    /// no signature is checked.
    #[arg(long, value_name = "FILE", conflicts_with = "token_file")]
    pub(crate) claims: Option<PathBuf>,
}

/// A request as the edge gets it.
pub(crate) struct Request {
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
    /// The whole body, if it is known.
    body: Option<Vec<u8>>,
}

impl RequestArguments {
    pub(crate) fn read(&self) -> Result<Request> {
        if let Some(file) = &self.request {
            return Request::recorded(&read_file(file)?)
                .with_context(|| format!("{} holds no request head", file.display()));
        }
        let mut headers = Vec::new();
        for text in &self.headers {
            let (name, value) = header(text.as_bytes())
                .with_context(|| "--header: expected NAME: VALUE".to_owned())?;
            ensure!(
                !name.eq_ignore_ascii_case("authorization"),
                "--header takes no Authorization: a process list shows arguments; give --token-file, or `--token-file -` and the token on standard input"
            );
            let is_host = name.eq_ignore_ascii_case("host");
            ensure!(
                !(is_host && self.host.is_some()),
                "the host is given twice: leave out --host, or --header Host"
            );
            headers.push((name, value));
        }
        for (name, value) in [("host", &self.host), (RESOURCE_HEADER, &self.resource)] {
            let value = value.iter().map(|value| value.clone().into_bytes());
            headers.extend(value.map(|value| (name.to_owned(), value)));
        }
        if let Some(file) = &self.token_file {
            let token = token(file)?;
            headers.push(("authorization".to_owned(), token));
        }
        let message = self.mcp.message();
        let default = if message.is_some() { "POST" } else { "GET" };
        let mut body = None;
        if let Some(message) = message {
            headers.extend(message.headers);
            body = Some(message.body);
        }
        Ok(Request {
            method: self.method.as_deref().unwrap_or(default).into(),
            target: self.path.clone().unwrap_or_default().into_bytes(),
            headers,
            body,
        })
    }
}

/// The value of `Authorization` for the token in a file.
fn token(file: &Path) -> Result<Vec<u8>> {
    let bytes = read_file(file)?;
    let token = bytes.trim_ascii();
    let has_scheme = token
        .get(..7)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"bearer "));
    let scheme: &[u8] = if has_scheme { b"" } else { b"Bearer " };
    Ok([scheme, token].concat())
}

/// The lines of a recorded head, and of what follows it, without what `curl -v` and CR add.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .map(|line| line.strip_prefix(b"> ").unwrap_or(line))
}

/// Every line of a recorded head, and of what follows it, that is a header: name and value.
pub(crate) fn headers(bytes: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    lines(bytes).filter_map(header_parts)
}

fn header(line: &[u8]) -> Option<(String, Vec<u8>)> {
    header_parts(line).map(|(name, value)| (name.to_owned(), value.to_vec()))
}

fn header_parts(line: &[u8]) -> Option<(&str, &[u8])> {
    let at = line.iter().position(|b| *b == b':')?;
    let (name, value) = line.split_at_checked(at)?;
    let name = std::str::from_utf8(name).ok()?.trim();
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let value = value.get(1..)?;
    let start = value.iter().position(|b| !blank(b)).unwrap_or(value.len());
    let end = value.iter().rposition(|b| !blank(b));
    let end = end.map_or(start, |last| last.saturating_add(1));
    (!name.is_empty()).then(|| (name, value.get(start..end).unwrap_or_default()))
}

impl Request {
    /// Reads a request head (RFC 9112): the request line and headers.
    ///
    /// # Errors It is none; the text quotes nothing of it.
    pub(super) fn recorded(bytes: &[u8]) -> Result<Self> {
        let mut lines = lines(bytes).take_while(|line| !line.is_empty() && *line != b">");
        let first = lines.next().unwrap_or_default();
        let mut words = first.splitn(2, |b| *b == b' ');
        let (method, rest) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let end = rest.iter().rposition(|b| *b == b' ');
        let (target, version) = rest
            .split_at_checked(end.unwrap_or_default())
            .unwrap_or_default();
        ensure!(
            version.starts_with(b" HTTP/") && !method.is_empty(),
            "its first line is not a request line"
        );
        let mut headers = Vec::new();
        for line in lines {
            match header(line) {
                Some(header) => headers.push(header),
                None => bail!("one of its lines is not a header"),
            }
        }
        Ok(Request {
            method: method.to_vec(),
            target: target.to_vec(),
            headers,
            body: body_after_head(bytes),
        })
    }

    /// The values of all headers with this name.
    pub(crate) fn all(&self, name: &str) -> Vec<&[u8]> {
        let named = self.headers.iter();
        let named = named.filter(|(one, _)| one.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_slice()).collect()
    }

    /// The whole body, if it is known.
    pub(crate) fn body(&self) -> Option<&[u8]> {
        self.body.as_deref()
    }

    /// What MCP's rules look at. Whether a body follows is known by the headers alone.
    pub(crate) fn mcp(&self) -> McpHeaders<'_> {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_bytes(), value.as_slice()));
        let headers = McpHeaders::of(headers, None);
        match &self.body {
            Some(body) => headers.with_body(body),
            None => headers,
        }
    }

    /// The parts that the core reads.
    pub(crate) fn view<'t>(
        &'t self,
        resource: &'t [&'t [u8]],
        authorization: &'t [&'t [u8]],
        mcp: &'t McpHeaders<'t>,
    ) -> RequestView<'t> {
        RequestView {
            method: Some(&self.method),
            target: Some(&self.target),
            authority: self.all("host").first().copied(),
            resource,
            authorization,
            names_client: self
                .all(CLIENT_ID_HEADER)
                .iter()
                .any(|value| !value.trim_ascii().is_empty()),
            lists_end_to_end: self.all("connection").into_iter().any(lists_end_to_end),
            mcp: Some(mcp),
        }
    }
}

/// What follows the head of a recorded request: its body. `curl -v` prints none.
fn body_after_head(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.starts_with(b"> ") {
        return None;
    }
    let ends = [&b"\r\n\r\n"[..], b"\n\n"].into_iter().filter_map(|end| {
        let at = bytes.windows(end.len()).position(|part| part == end)?;
        Some(at.saturating_add(end.len()))
    });
    let body = bytes.get(ends.min()?..)?;
    (!body.is_empty()).then(|| body.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_head_is_read() {
        let plain = b"GET /a b?c HTTP/1.1\r\nHost: x\r\nAuthorization:  Bearer t \r\n\r\nbody: 1";
        let curl =
            b"> GET /a b?c HTTP/1.1\n> Host: x\n> Authorization: Bearer t\n> \n< HTTP/1.1 200 OK\n";
        for bytes in [&plain[..], &curl[..]] {
            let request = Request::recorded(bytes).unwrap();
            assert_eq!(request.method, b"GET");
            assert_eq!(request.target, b"/a b?c");
            assert_eq!(request.all("authorization"), [b"Bearer t"]);
            assert_eq!(
                request.view(&[], &[], &request.mcp()).authority,
                Some(&b"x"[..])
            );
            assert!(request.all("body").is_empty());
            let body = bytes.ends_with(b"1").then_some(&b"body: 1"[..]);
            assert_eq!(request.body(), body);
        }
        for bytes in [&b""[..], b"GET /", b"GET / HTTP/1.1\r\nno header\r\n\r\n"] {
            assert!(Request::recorded(bytes).is_err());
        }
    }
}
