//! Inputs that once broke something, each with the check that it broke: found by the fuzz targets in `fuzz/`, cut down to what
//! matters.

#[path = "fuzzed/checks.rs"]
mod checks;

use checks::{evaluation, exposition, promqltest, rules};

#[test]
fn inputs_that_once_broke_something_hold() {
    // A tag before a comma, on which the YAML parser panics.
    rules(b"groups: [a: !,b]");
    // Counts of `topk` that are too small at one step and large enough at another.
    evaluation(b"aN )=\xc1a\xa3N )==\x01\x00\x00\x00\x00\x00\x00\x03o\x00\x00\x10[5m:m]15_quanNaN=\x00\xff\x1e\xff\xff\xff\xff\xff\xfer\x00\x00\x00\x91\x91 )=)");
    // Series that have equal labels only where they never meet.
    evaluation(
        b"r\xff\xff\xff2----=----\x00\x01\x03----=-------A-----\xe4\x0d---\x0e\xff\xff\xff\xff\xff\xff\xff!~\x87\x87M*m)---A-----\x8d\x0d---\x0e\xff\xff\xff\xff\xff\xff\xff!~\x87\x87M(m)",
    );
    // Equals, of which `topk` takes the first, in the order of `sort`.
    evaluation(
        b"\x04\x00Y!!!!!)wrout fpe_l(!!\x00!!\xe3\xde\xde\xde\xde\xde\xdaq!!!!!!!!!!!!!!!)! !! !=~\x22\x5c\x5c!!!!Y!!1\x03\x01Y[h\x041",
    );
    // Millions of samples, each looked for before it was loaded.
    promqltest(b"load 1m\n  a 1x4662087\n\neval instant at 1m a\n  a 1\n");
    for check in [exposition, rules, promqltest, evaluation] {
        check(b"");
    }
}
