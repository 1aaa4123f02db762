//! The in-process proxy host: a proxy-wasm host for tests, stateful, with a clock and a network under the test's control.
