//! What a simulated network is made of, and how a run of it can fail.
//!
//! Invariant: everything here is integers and durations; no value that could round differently on another machine decides
//! what happens. Leaves out: faults, which are applied during the run through [`Sim`](super::Sim).

use std::time::Duration;

/// One direction of a link between two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkConfig {
    /// Shortest one-way delay.
    pub latency_min: Duration,
    /// Longest one-way delay; drawn uniformly per packet at microsecond grain, order within a connection is kept.
    pub latency_max: Duration,
    /// Packets lost per million, independently of one another.
    pub loss_ppm: u32,
}

impl LinkConfig {
    /// A link that loses nothing and delays between `min` and `max`.
    #[must_use]
    pub fn latency(min: Duration, max: Duration) -> Self {
        Self {
            latency_min: min,
            latency_max: max,
            loss_ppm: 0,
        }
    }

    /// The same link losing `ppm` packets per million.
    #[must_use]
    pub fn with_loss_ppm(self, ppm: u32) -> Self {
        Self {
            loss_ppm: ppm,
            ..self
        }
    }

    pub(super) fn check(&self) -> Result<(), SimError> {
        if self.latency_min > self.latency_max {
            return Err(SimError::Config(format!(
                "latency_min {:?} exceeds latency_max {:?}",
                self.latency_min, self.latency_max
            )));
        }
        if self.loss_ppm > 1_000_000 {
            return Err(SimError::Config(format!(
                "loss_ppm {} exceeds 1000000",
                self.loss_ppm
            )));
        }
        Ok(())
    }
}

impl Default for LinkConfig {
    /// 1 to 5 ms, no loss: two machines in one region.
    fn default() -> Self {
        Self::latency(Duration::from_millis(1), Duration::from_millis(5))
    }
}

/// The whole network.
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// Root seed; each link draws from its own labelled stream of it.
    pub seed: u64,
    /// Every link that has not been set otherwise.
    pub link: LinkConfig,
    /// Largest IP packet in bytes. The default of 60 000 keeps a scrape body in one packet (speed); 1500 is Ethernet.
    pub mtu: u32,
    /// Accept queue of every listener, as `somaxconn`; SYNs beyond it are lost and retried.
    pub backlog: usize,
    /// First retransmission time-out of a segment that carries data, FIN or ACK; doubles up to 120 s.
    pub rto: Duration,
    /// Retransmissions of such a segment before the connection is given up, as `tcp_retries2`.
    pub retries: u32,
    /// Nanoseconds since 1970 shown by a correct clock when the run starts.
    pub epoch_unix_nanos: i64,
    /// A run that reaches this much virtual time is stopped with [`SimError::TimeLimit`]: nothing is left that could end it.
    pub time_limit: Duration,
    /// Also keep a SHA-256 over every delivered packet with its payload ([`NetStats::packet_sha256`](super::NetStats)).
    pub hash_packets: bool,
    /// Tells the host's own time, if the caller wants to know where it goes ([`Sim::books`](super::Sim::books)). Only the
    /// caller has a clock; what it says never reaches the simulation.
    pub stopwatch: Option<fn() -> Duration>,
}

impl NetConfig {
    /// Defaults: 1–5 ms links, Linux's retransmission limits, 2024-01-01T00:00:00Z, at most 60 virtual days.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            link: LinkConfig::default(),
            mtu: 60_000,
            backlog: 1024,
            rto: Duration::from_millis(200),
            retries: 15,
            epoch_unix_nanos: 1_704_067_200_000_000_000,
            time_limit: Duration::from_secs(60 * 86_400),
            hash_packets: false,
            stopwatch: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), SimError> {
        self.link.check()?;
        if !(576..=65_535).contains(&self.mtu) {
            return Err(SimError::Config(format!(
                "mtu {} is outside 576..=65535",
                self.mtu
            )));
        }
        if self.backlog == 0 || self.rto.is_zero() {
            return Err(SimError::Config("backlog and rto must be positive".into()));
        }
        Ok(())
    }
}

/// One host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostConfig {
    /// Cores that [`Cpu::work`](super::Cpu::work) queues on; at least 1.
    pub cores: u32,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self { cores: 1 }
    }
}

/// Why a run ended without the script's value.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The description of the network is wrong.
    #[error("simulated network: {0}")]
    Config(String),
    /// A task panicked. `host` is `None` for the script.
    #[error("panic on {} at {at:?}: {message}", host.as_deref().unwrap_or("the script"))]
    Panic {
        /// Host whose task it was; `None` for the script.
        host: Option<String>,
        /// Virtual time since the start.
        at: Duration,
        /// Message and source location.
        message: String,
    },
    /// `tokio::spawn` (or a library that uses it, such as `axum::serve`) was called inside the simulation: the task would
    /// belong to no host, survive its crash and run outside its clock. Use [`HostCtx::spawn`](super::HostCtx::spawn).
    #[error("tokio::spawn on {}: the task would belong to no host; use HostCtx::spawn", host.as_deref().unwrap_or("the script"))]
    StraySpawn {
        /// Host that was being polled; `None` for the script.
        host: Option<String>,
    },
    /// Virtual time reached [`NetConfig::time_limit`].
    #[error(
        "the script had not ended at the time limit of {0:?}: it waits for something that can no longer happen"
    )]
    TimeLimit(Duration),
    /// A datagram was sent; only TCP is simulated.
    #[error("UDP from {0}: only TCP is simulated")]
    Udp(String),
}
