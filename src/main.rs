//! Command line of firedrill: arguments → one library call → exit code.
fn main() {}
