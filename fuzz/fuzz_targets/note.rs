#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| odh_fuzz::log::note(data));
