//! Another plugin of the same proxy, which a test tells what to do with shared data. `x-name`
//! is the name of a value. With `x-value` (hex) it is written, whatever is there; without, it
//! is answered in hex, or with 404.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

struct Root;
struct Plugin;

impl Context for Root {}

impl RootContext for Root {
    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Plugin))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Plugin {}

impl HttpContext for Plugin {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let name = self.get_http_request_header("x-name").unwrap_or_default();
        let value = self.get_http_request_header("x-value");
        let (status, body) = match value.map(|hex| from_hex(&hex)) {
            Some(Some(value)) => match self.set_shared_data(&name, Some(&value), None) {
                Ok(()) => (200, String::new()),
                Err(_) => (500, String::new()),
            },
            Some(None) => (400, String::new()),
            None => match self.get_shared_data(&name) {
                (Some(value), _) => (200, to_hex(&value)),
                (None, _) => (404, String::new()),
            },
        };
        self.send_http_response(status, Vec::new(), Some(body.as_bytes()));
        Action::Pause
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}
