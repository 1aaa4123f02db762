#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| caracal_fuzz::headers::check(data));
