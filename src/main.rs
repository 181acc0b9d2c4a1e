//! Command line of firedrill.
fn main() {}
