//! The whole HTTP API on a real PostgreSQL, over sockets.
//!
//! The server: `FIREDRILL_POSTGRES_URL` (an administrator's), or the installed binaries on a temporary folder. Without either these
//! tests say that they did not run; with `FIREDRILL_REQUIRE_LIVE=1` they fail instead.

mod api;
mod cases;
mod levers;
mod server;
