//! How often the core allocates for a request, counted exactly.
#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use caracal_mandate::config::Configuration;
use caracal_mandate::decision::context::Context;
use caracal_mandate::decision::verifier::{Screened, Verdict, Verifier};
use caracal_mandate::jwks::algorithm::Algorithm;
use caracal_mandate::jwks::key_set::KeySet;
use caracal_mandate::jwks::signature::PureRust;
use caracal_mandate::request::RequestView;
use caracal_mandate::revocation::Disabled;
use caracal_mandate::token::cache::MandateCache;
use caracal_tests::mint::{Key, configuration, key_set};
use serde_json::json;

const NOW: u64 = 1_767_225_600;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: all of it is the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Edge {
    verifier: Verifier,
    keys: KeySet,
    cache: MandateCache,
}

impl Edge {
    /// Allocations of one request that is admitted.
    fn request(&mut self, token: &str) -> u64 {
        let value = format!("Bearer {token}");
        let with = Context {
            keys: Some(&self.keys),
            revocation: &Disabled,
            signatures: &PureRust,
            now: NOW,
        };
        let before = COUNT.get();
        let request = RequestView {
            method: Some(b"GET"),
            target: Some(b"/payouts/1?page=2"),
            authority: Some(b"edge.test"),
            resource: &[],
            authorization: &[value.as_bytes()],
            names_client: false,
            lists_end_to_end: false,
            mcp: None,
        };
        let screened = self.verifier.screen(&request, &self.cache);
        let Ok(Screened::Credential(credential)) = screened else {
            panic!("not a credential");
        };
        let verdict = self.verifier.decide(&credential, with, &mut self.cache);
        let after = COUNT.get();
        assert!(matches!(verdict, Verdict::Admitted(_)));
        after - before
    }
}

#[test]
fn a_known_mandate_is_judged_without_allocations() {
    let changes = json!({"routes": {"/payouts": {"required_scopes": ["billing:read"]}}});
    let configuration =
        Configuration::from_json(configuration(changes).to_string().as_bytes(), &|_| None).unwrap();
    let key = Key::new("k1", 1);
    let document = key_set(&[&key]).to_string();
    let mut edge = Edge {
        verifier: Verifier::from(&configuration),
        keys: KeySet::parse(document.as_bytes(), &[Algorithm::Es256]).unwrap(),
        cache: MandateCache::new(16),
    };
    let tokens = ["a", "b"].map(|jti| key.mandate(NOW, json!({"jti": jti})));
    edge.request(&tokens[0]);
    let (cold, warm) = (edge.request(&tokens[1]), edge.request(&tokens[1]));
    println!("allocations: {cold} cold, {warm} warm");
    assert_eq!(warm, 0, "allocations of a request that is known");
    assert!(cold <= 30, "{cold} allocations of one that is new");
}
