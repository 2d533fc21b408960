//! A response's head: see the module of that name in the library for what must hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sheave_fuzz::response_head::holds(data));
