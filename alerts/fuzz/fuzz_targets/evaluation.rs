//! What it checks: `checks.rs`.
#![no_main]

#[path = "../../tests/fuzzed/checks.rs"]
#[expect(dead_code, reason = "each target makes one of the checks")]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::evaluation(input));
