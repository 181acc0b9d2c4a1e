//! The reference ledger.
