#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| pontoon_fuzz::run("import", input));
