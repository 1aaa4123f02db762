//! The places where the filter calls the in-process host, so that each call can fail once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::host::{Builder, HostCall, Proxy, Vm};

/// One call in a run: who makes it, where, and the how-manieth of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    pub vm: Vm,
    pub callback: &'static str,
    pub name: &'static str,
    pub nth: u64,
}

impl Site {
    pub fn of(call: &HostCall) -> Self {
        Site {
            vm: call.vm,
            callback: call.callback,
            name: call.name,
            nth: call.nth,
        }
    }
}

/// The sites of a life without faults. Of calls made alike, so many from the first on.
pub fn sites(builder: Builder, each: u64, live: impl FnOnce(&mut Proxy)) -> Vec<Site> {
    let seen: Rc<RefCell<Vec<Site>>> = Rc::default();
    let note = Rc::clone(&seen);
    let mut proxy = builder
        .on_host_call(move |call| {
            note.borrow_mut().push(Site::of(call));
            None
        })
        .start()
        .unwrap();
    live(&mut proxy);
    let mut alike: BTreeMap<(Vm, &str, &str), u64> = BTreeMap::new();
    let all = seen.borrow();
    let first = all.iter().filter(|site| {
        let count = alike
            .entry((site.vm, site.callback, site.name))
            .or_default();
        *count += 1;
        *count <= each
    });
    first.copied().collect()
}
