//! Inputs that once broke something, each with the check that it broke: found by the fuzz targets in `fuzz/`, cut down to what
//! matters.

#[path = "fuzzed/checks.rs"]
mod checks;

use checks::{evaluation, exposition, promqltest, rules};

#[test]
fn inputs_that_once_broke_something_hold() {
    for check in [exposition, rules, promqltest, evaluation] {
        check(b"");
    }
}
