#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| odh_fuzz::policy::filter(text));
