//! Length-prefixed postcard messages between simulated hosts: how the simulated database, cache and broker are spoken to.
//!
//! Invariant: a frame longer than [`FRAME_BYTES_MAX`] or one that does not decode ends the connection, as a protocol error would.
//! Not PostgreSQL's, Redis's or a broker's own protocol: what is simulated is the network below and the semantics above.

use std::io;

use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::simnet::TcpStream;

/// The longest frame, a bound against runaway messages.
pub const FRAME_BYTES_MAX: usize = 4 << 20;

/// A connection that sends and receives frames.
pub struct Wire {
    stream: TcpStream,
    inbox: Vec<u8>,
    taken: usize,
    outbox: Vec<u8>,
}

impl Wire {
    /// Frames over `stream`.
    pub fn new(stream: TcpStream) -> Wire {
        Wire {
            stream,
            inbox: Vec::with_capacity(1024),
            taken: 0,
            outbox: Vec::with_capacity(1024),
        }
    }

    /// Connects to `host:port`.
    ///
    /// # Errors
    /// What the connection attempt gave.
    pub async fn connect(address: &str) -> io::Result<Wire> {
        Ok(Wire::new(TcpStream::connect(address).await?))
    }

    /// Puts a message behind those not yet sent.
    ///
    /// # Errors
    /// `InvalidData` if the message cannot be encoded or is too long.
    pub fn queue<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        let start = self.outbox.len();
        self.outbox.extend_from_slice(&[0; 4]);
        let buffer = std::mem::take(&mut self.outbox);
        self.outbox = postcard::to_extend(message, buffer).map_err(io::Error::other)?;
        let length = self.outbox.len() - start - 4;
        if length > FRAME_BYTES_MAX {
            self.outbox.truncate(start);
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("frame of {length} bytes"),
            ));
        }
        self.outbox[start..start + 4].copy_from_slice(&(length as u32).to_le_bytes());
        Ok(())
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// The connection's.
    pub async fn flush(&mut self) -> io::Result<()> {
        let result = self.stream.write_all(&self.outbox).await;
        self.outbox.clear();
        result
    }

    /// Queues and sends one message.
    ///
    /// # Errors
    /// As [`Wire::queue`] and [`Wire::flush`].
    pub async fn send<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        self.queue(message)?;
        self.flush().await
    }

    /// Whether a whole message is here already, so that [`Wire::receive`] would not wait.
    pub fn has_message(&self) -> bool {
        self.frame_end().is_some_and(|end| end <= self.inbox.len())
    }

    fn frame_end(&self) -> Option<usize> {
        let header: [u8; 4] = self
            .inbox
            .get(self.taken..self.taken + 4)?
            .try_into()
            .ok()?;
        Some(self.taken + 4 + u32::from_le_bytes(header) as usize)
    }

    /// Waits for the next message. Dropping the future loses nothing.
    ///
    /// # Errors
    /// `UnexpectedEof` when the peer closed, `InvalidData` for a frame that is too long or does not decode, else the connection's.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        loop {
            if let Some(end) = self.frame_end() {
                if end - self.taken - 4 > FRAME_BYTES_MAX {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "frame too long"));
                }
                if end <= self.inbox.len() {
                    let message = postcard::from_bytes(&self.inbox[self.taken + 4..end])
                        .map_err(io::Error::other);
                    self.taken = end;
                    if self.taken == self.inbox.len() {
                        self.inbox.clear();
                        self.taken = 0;
                    }
                    return message;
                }
            }
            if self.taken > 0 {
                self.inbox.drain(..self.taken);
                self.taken = 0;
            }
            if self.stream.read_buf(&mut self.inbox).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
