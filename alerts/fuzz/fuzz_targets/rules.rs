//! What it checks: `checks.rs`.
#![no_main]

#[path = "../../tests/fuzzed/checks.rs"]
#[expect(dead_code, reason = "each target makes one of the checks")]
mod checks;

libfuzzer_sys::fuzz_target!(init: spare_the_parser(), |input: &[u8]| checks::rules(input));

/// The YAML parser panics on some texts, which is caught and becomes an error. libFuzzer's hook would end the process before that;
/// any other panic still does, and so does one of the parser that nobody catches.
fn spare_the_parser() {
    let end = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let of_parser = panic.location().is_some_and(|place| place.file().contains("libyaml-safer"));
        if !of_parser {
            end(panic);
        }
    }));
}
