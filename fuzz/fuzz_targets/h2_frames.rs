//! The frames of an HTTP/2 connection: see the module of that name in the library for what must hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sheave_fuzz::h2_frames::holds(data));
