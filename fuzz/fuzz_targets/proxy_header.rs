//! A PROXY header: see the module of that name in the library for what must hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sheave_fuzz::proxy_header::holds(data));
