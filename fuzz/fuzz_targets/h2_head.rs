//! A head of HTTP/2: see the module of that name in the library for what must hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sheave_fuzz::h2_head::holds(data));
