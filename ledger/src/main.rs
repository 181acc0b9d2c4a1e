//! The ledger service binary.
fn main() {}
