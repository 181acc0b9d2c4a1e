//! A network of simulated hosts in one thread: real TCP state machines (`turmoil-net`), virtual time, injected faults.
//!
//! ```
//! use chaos::simnet::{HostConfig, NetConfig, SimBuilder, TcpListener, TcpStream};
//! use std::time::Duration;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! let clients_end = SimBuilder::new(NetConfig::new(7))
//!     .host("server", HostConfig { cores: 2 }, |ctx| async move {
//!         let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
//!         let (mut stream, _) = listener.accept().await.unwrap();
//!         let byte = stream.read_u8().await.unwrap();
//!         ctx.cpu.work(Duration::from_millis(3)).await;
//!         stream.write_u8(byte + 1).await.unwrap();
//!     })
//!     .host("client", HostConfig::default(), |_| async {
//!         let mut stream = TcpStream::connect("server:80").await.unwrap();
//!         stream.write_u8(41).await.unwrap();
//!         assert_eq!(stream.read_u8().await.unwrap(), 42);
//!     })
//!     .run(|sim| async move {
//!         sim.partition("client", "server"); // the SYN is lost and repeated after 1 s
//!         sim.sleep_until(Duration::from_millis(500)).await;
//!         sim.repair("client", "server");
//!         sim.sleep_until(Duration::from_secs(2)).await;
//!         (sim.is_up("client"), sim.stats().retransmissions)
//!     });
//! assert_eq!(clients_end.unwrap(), (false, 1));
//! ```
//!
//! Invariants: same configuration, seed and code → the same packets at the same instants, in every process; a host runs
//! only when it was woken; a panic or a stray `tokio::spawn` in any task fails the run; idle time costs nothing.
//!
//! Rules for what runs on a host: `biased;` in every `select!`; tasks through [`HostCtx::spawn`]; time from
//! [`HostCtx::clock`]; sockets from here, HTTP from [`http`].
//!
//! Limits: TCP over IPv4 only; virtual time moves in steps of 1 ms; no bandwidth, congestion control or TIME_WAIT;
//! `bind` refuses a port on which the same process still has open connections; a host's connections to itself bypass links
//! and can stall when 64 KiB lie unread. A thread runs one simulation at a time.

mod agenda;
mod builder;
mod clock;
mod config;
mod cpu;
mod endings;
mod engine;
mod fabric;
mod handle;
mod host;
pub mod http;
mod link;
mod packet;
pub mod random;
mod socket;
mod stats;
mod transport;
mod window;

pub use builder::SimBuilder;
pub use clock::HostClock;
pub use config::{HostConfig, LinkConfig, NetConfig, SimError};
pub use cpu::Cpu;
pub use handle::Sim;
pub use host::{HostCtx, StopSignal};
pub use random::stream;
pub use socket::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream, ToSocketAddrs};
pub use stats::NetStats;
