//! HTTP/1.1 over simulated sockets: a server loop and a client with a connection pool.
//!
//! Invariants: every task of a connection belongs to the host that opened it; no header depends on a clock that is not the
//! host's (hyper's `Date` is off). Leaves out: TLS, HTTP/2, upgrades, redirects.

mod client;
mod server;

pub use client::{Client, ClientConfig, HttpError};
pub use server::{serve, serve_fn};
