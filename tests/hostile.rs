//! Requests and documents that try to be dear, and what they cost in the in-process
//! host: units of work, about a wasm instruction each. `make worst` searches for more of
//! them; the `counts` suite guards the worst that were found.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::json;

use crate::companion::InProcess;
use crate::host::{Answer, Cost, Proxy, Request};
use crate::hosts::{ENVOY, On};
use crate::mint::{Key, key_set};

const START: u64 = 1_767_225_600;
/// Callbacks after which another host is started.
const NOTES: usize = 20_000;

/// What somebody can make dear. The last two are documents of peers that are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A request target.
    Path,
    /// Header lines.
    Headers,
    /// A `baggage` value.
    Baggage,
    /// The header of a token that nobody signed.
    TokenHeader,
    /// The payload of a token that the zone signed.
    Claims,
    /// What the STS answers.
    KeySet,
    /// What the companion answers.
    Page,
}

impl Kind {
    pub const ALL: [Kind; 7] = [
        Kind::Path,
        Kind::Headers,
        Kind::Baggage,
        Kind::TokenHeader,
        Kind::Claims,
        Kind::KeySet,
        Kind::Page,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Path => "path",
            Kind::Headers => "headers",
            Kind::Baggage => "baggage",
            Kind::TokenHeader => "token header",
            Kind::Claims => "claims",
            Kind::KeySet => "key set",
            Kind::Page => "page",
        }
    }

    /// The most bytes that are tried: what Envoy takes of headers is 60 KiB.
    pub fn longest(self) -> usize {
        match self {
            Kind::Path => 8 * 1024,
            Kind::Headers | Kind::Baggage => 16 * 1024,
            // Encoded, it is within the limit of a token.
            Kind::TokenHeader | Kind::Claims => 5_900,
            Kind::KeySet | Kind::Page => 16 * 1024,
        }
    }
}

/// An edge in the in-process host, with rules for paths.
pub struct Meter {
    on: On,
    proxy: Proxy,
    key: Key,
    document: Rc<RefCell<Option<Vec<u8>>>>,
}

impl Meter {
    pub fn start(on: On) -> Self {
        let document: Rc<RefCell<Option<Vec<u8>>>> = Rc::default();
        let mut meter = Meter {
            on,
            proxy: proxy(on, None, &document),
            key: Key::new("k1", 1),
            document,
        };
        meter.warm();
        meter
    }

    /// The first request also takes memory, and the next one what that left.
    fn warm(&mut self) {
        self.plain();
        self.plain();
    }

    /// On Envoy.
    pub fn envoy() -> Self {
        Meter::start(ENVOY)
    }

    /// What a refusal costs of a request without anything to it.
    pub fn plain(&mut self) -> u64 {
        self.work(Kind::Path, b"/payouts/1?page=2")
    }

    /// What an input costs, in units of work.
    pub fn work(&mut self, kind: Kind, input: &[u8]) -> u64 {
        self.cost(kind, input).fuel
    }

    /// What an input costs. A document's is what taking it costs.
    pub fn cost(&mut self, kind: Kind, input: &[u8]) -> Cost {
        let request = match kind {
            Kind::Path => Request::get(input),
            Kind::Headers => lines(input),
            // It is read of a request that may have a mandate.
            Kind::Baggage => Request::get("/payouts/1?page=2")
                .bearer(unsigned())
                .header("baggage", input),
            Kind::TokenHeader => {
                let token = format!("{}.e30.AAAA", BASE64.encode(input));
                Request::get("/payouts/1?page=2").bearer(token)
            }
            Kind::Claims => {
                let payload = BASE64.encode(input);
                let token = self.key.sign_raw(&payload);
                Request::get("/payouts/1?page=2").bearer(token)
            }
            Kind::KeySet | Kind::Page => return self.document(kind, input),
        };
        // It remembers every request: a search of an hour makes millions.
        if self.proxy.callbacks().len() > NOTES {
            self.proxy = proxy(self.on, None, &self.document);
            self.warm();
        }
        let stream = self.proxy.request(0, request);
        self.on.settle(&mut self.proxy, stream);
        self.proxy.cost(stream)
    }

    /// What an answer of a peer costs the callback that takes it.
    fn document(&mut self, kind: Kind, input: &[u8]) -> Cost {
        *self.document.borrow_mut() = Some(input.to_vec());
        let mut proxy = proxy(self.on, Some(kind), &self.document);
        proxy.advance(Duration::from_secs(1));
        // The first answer is the key set's, the next one the companion's.
        let answers = proxy.callbacks().iter();
        let mut answers = answers.filter(|one| one.callback == "proxy_on_http_call_response");
        let taken = answers.nth(usize::from(kind == Kind::Page));
        let taken = taken.expect("the peer was asked");
        Cost {
            fuel: taken.fuel,
            host_calls: taken.host_calls.clone(),
            handed: taken.handed,
        }
    }
}

fn proxy(on: On, odd: Option<Kind>, document: &Rc<RefCell<Option<Vec<u8>>>>) -> Proxy {
    let companion = Rc::new(InProcess::default());
    let document = Rc::clone(document);
    let configuration = on.configuration(json!({
        "revocation": {"upstream": "feed", "max_staleness_s": 3600},
        "routes": {
            "/payouts": {}, "/payouts/admin": {"require_session": true}, "/reports": {}, "/v1/files": {},
        },
        "exclude": ["/healthz", "/payouts/public"],
        // So that `Authorization` and `baggage` are taken apart.
        "forward": {"authorization": false},
    }));
    let answer = move |document: &Rc<RefCell<Option<Vec<u8>>>>| {
        Answer::with(200, document.borrow().clone().unwrap_or_default())
    };
    let mut proxy = on
        .builder(&configuration)
        .wall(Duration::from_secs(START))
        .on_callout(move |callout| match (on.is_sts(callout), odd) {
            (true, Some(Kind::KeySet)) | (false, Some(Kind::Page)) => answer(&document),
            (true, _) => Answer::json(&key_set(&[&Key::new("k1", 1)])),
            (false, _) => companion.answer(callout),
        })
        .start()
        .unwrap();
    if odd.is_none() {
        proxy.advance(Duration::from_secs(1));
    }
    proxy
}

/// A token that only its signature keeps from being a mandate, and nobody has to sign.
pub fn unsigned() -> String {
    format!(
        "{}.e30.AAAA",
        BASE64.encode(r#"{"alg":"ES256","kid":"k1"}"#)
    )
}

/// A request with these header lines.
fn lines(input: &[u8]) -> Request {
    let lines = header_lines(input).into_iter();
    lines.fold(
        Request::get("/payouts/1?page=2"),
        |request, (name, value)| request.header(&name, value),
    )
}

/// The headers that an input has, as many as Envoy takes.
pub fn header_lines(input: &[u8]) -> Vec<(String, Vec<u8>)> {
    let lines = input.split(|b| *b == b'\n').take(100);
    let header = |line: &[u8]| {
        let at = line.iter().position(|b| *b == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(at);
        let is_name = |b: &u8| b.is_ascii_alphanumeric() || b"-_.~!".contains(b);
        let is_header = !name.is_empty() && name.iter().all(is_name);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        is_header.then(|| (name, value.to_vec()))
    };
    lines.filter_map(header).collect()
}

/// The dearest inputs that searches found, as `make worst` left them: each kind's
/// dearest, and the one that is dearest for its length.
pub fn worst() -> Vec<(Kind, String, Vec<u8>)> {
    let folder = crate::root().join("tests/suites/worst");
    let aims = ["dearest", "dearest for its length"];
    let both = Kind::ALL
        .into_iter()
        .flat_map(|kind| aims.map(|aim| (kind, aim)));
    let read = |(kind, aim): (Kind, &str)| {
        let name = format!("{}, {aim}", kind.name());
        let file = name.replace(", ", "-").replace(' ', "-");
        let input = std::fs::read(folder.join(&file)).expect(&file);
        (kind, name, input)
    };
    both.map(read).collect()
}
