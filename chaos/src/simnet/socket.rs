//! TCP sockets of a simulated host, in the shape of `tokio::net`.
//!
//! Thin shells over `turmoil-net`'s: they make a socket act on the host that opened it even when it is dropped elsewhere,
//! tell the event loop which sockets were touched (so that it need not sweep them all), and turn errors into those of Linux
//! where `turmoil-net`'s differ. Invariant: a socket that outlives its simulation does nothing.
//! Limits: `bind` fails with `AddrInUse` while connections accepted on that port by the same process are still open
//! (Linux would allow it); socket options other than `nodelay` are not offered; no UDP, no Unix sockets.

use super::fabric::{self, FlowKey};
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil_net::shim::tokio::net as shim;

pub use turmoil_net::shim::tokio::net::ToSocketAddrs;

/// A socket tied to its host and run.
#[derive(Debug)]
struct Tied<T> {
    /// `None` only while it is being dropped or converted.
    socket: Option<T>,
    host: u16,
    run: u64,
}

fn no_host() -> io::Error {
    io::Error::other(
        "no simulated host is running here: open sockets in a task of a host, not in the script",
    )
}

fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotConnected,
        "the simulation that this socket belongs to has ended",
    )
}

impl<T> Tied<T> {
    fn new(socket: T, host: u16) -> Self {
        Self {
            socket: Some(socket),
            host,
            run: fabric::current_run(),
        }
    }

    /// Acts on the socket with its own host current.
    fn with<R>(&mut self, action: impl FnOnce(&mut T) -> R) -> io::Result<R> {
        match &mut self.socket {
            Some(socket) if self.run == fabric::current_run() => {
                Ok(fabric::on_host(self.host, || action(socket)))
            }
            _ => Err(closed()),
        }
    }

    fn with_ref<R>(&self, action: impl FnOnce(&T) -> R) -> io::Result<R> {
        match &self.socket {
            Some(socket) if self.run == fabric::current_run() => {
                Ok(fabric::on_host(self.host, || action(socket)))
            }
            _ => Err(closed()),
        }
    }
}

impl<T> Drop for Tied<T> {
    fn drop(&mut self) {
        let Some(socket) = self.socket.take() else {
            return;
        };
        if self.run == fabric::current_run() {
            fabric::touch();
            fabric::on_host(self.host, || drop(socket));
        } else {
            std::mem::forget(socket); // closing it would act on a kernel that no longer exists
        }
    }
}

/// Listens on a port of the host that binds it; see `tokio::net::TcpListener`.
#[derive(Debug)]
pub struct TcpListener(Tied<shim::TcpListener>);

impl TcpListener {
    /// Binds and listens. Connections that closed processes left behind on the port make way, as with `SO_REUSEADDR`.
    ///
    /// # Errors
    /// `AddrInUse` when another listener, or a connection that is still open in this process, holds the port;
    /// `AddrNotAvailable` for an address that is not of this host; `Other` outside a host.
    pub async fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<Self> {
        let host = fabric::current_host().ok_or_else(no_host)?;
        let addr = addr.to_socket_addr()?;
        let listener = match shim::TcpListener::bind(addr).await {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
                fabric::evict_orphans(host, addr.port()).await;
                shim::TcpListener::bind(addr).await?
            }
            other => other?,
        };
        Ok(Self(Tied::new(listener, host)))
    }

    /// The next connection and its peer.
    ///
    /// # Errors
    /// `NotConnected` after the simulation has ended.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Poll form of [`TcpListener::accept`].
    ///
    /// # Errors
    /// As [`TcpListener::accept`].
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        loop {
            let (stream, peer) = match self.0.with_ref(|l| l.poll_accept(cx))? {
                Poll::Ready(accepted) => accepted?,
                Poll::Pending => return Poll::Pending,
            };
            let stream = TcpStream::tie(stream, self.0.host);
            if !stream.key.is_some_and(fabric::take_ghost) {
                return Poll::Ready(Ok((stream, peer)));
            }
        }
    }

    /// The bound address.
    ///
    /// # Errors
    /// `NotConnected` after the simulation has ended.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.with_ref(shim::TcpListener::local_addr)?
    }
}

/// A connection; see `tokio::net::TcpStream`.
#[derive(Debug)]
pub struct TcpStream {
    tied: Tied<shim::TcpStream>,
    key: Option<FlowKey>,
}

impl TcpStream {
    fn tie(stream: shim::TcpStream, host: u16) -> Self {
        let tied = Tied::new(stream, host);
        let key = tied
            .with_ref(|s| s.local_addr().and_then(|local| Ok((local, s.peer_addr()?))))
            .and_then(|addresses| addresses)
            .ok()
            .and_then(|(local, peer)| FlowKey::of(local, peer));
        Self { tied, key }
    }

    /// Connects to `host:port` (a name of the simulation, or an address).
    ///
    /// # Errors
    /// `ConnectionRefused` when nothing listens there; `TimedOut` after 127 s without an answer; `NotFound` for an unknown
    /// name; `Other` outside a host.
    pub async fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<Self> {
        let host = fabric::current_host().ok_or_else(no_host)?;
        let peer = addr.to_socket_addr()?;
        fabric::touch();
        match shim::TcpStream::connect(peer).await {
            Ok(stream) => Ok(Self::tie(stream, host)),
            Err(e)
                if e.kind() == io::ErrorKind::ConnectionRefused
                    && fabric::take_connect_timed_out(host, peer) =>
            {
                Err(io::ErrorKind::TimedOut.into())
            }
            Err(e) => Err(e),
        }
    }

    /// Address of this end.
    ///
    /// # Errors
    /// `NotConnected` after the simulation has ended.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tied.with_ref(shim::TcpStream::local_addr)?
    }

    /// Address of the other end.
    ///
    /// # Errors
    /// `NotConnected` after the simulation has ended.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tied.with_ref(shim::TcpStream::peer_addr)?
    }

    /// Accepted for the sake of callers; segments are never delayed to be merged.
    ///
    /// # Errors
    /// `NotConnected` after the simulation has ended.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.tied.with_ref(|s| s.set_nodelay(nodelay))?
    }

    /// Halves that move to different tasks; dropping the write half sends FIN.
    #[must_use]
    pub fn into_split(mut self) -> (OwnedReadHalf, OwnedWriteHalf) {
        let (host, key) = (self.tied.host, self.key);
        // Both halves report the drop: the connection is closed only when the second one goes.
        let shared = std::sync::Arc::new(Closer(key, self.tied.run));
        self.key = None;
        match self.tied.socket.take().map(shim::TcpStream::into_split) {
            Some((read, write)) => (
                OwnedReadHalf {
                    tied: Tied::new(read, host),
                    key,
                    _closer: shared.clone(),
                },
                OwnedWriteHalf {
                    tied: Tied::new(write, host),
                    key,
                    _closer: shared,
                },
            ),
            None => unreachable!("a stream holds its socket until it is dropped"),
        }
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        drop(Closer(self.key, self.tied.run));
    }
}

/// Tells the event loop that nobody owns the connection any more.
#[derive(Debug)]
struct Closer(Option<FlowKey>, u64);

impl Drop for Closer {
    fn drop(&mut self) {
        if let Some(key) = self.0
            && self.1 == fabric::current_run()
        {
            fabric::note_dropped(key);
        }
    }
}

/// Reading half of a [`TcpStream`].
#[derive(Debug)]
pub struct OwnedReadHalf {
    tied: Tied<shim::tcp::OwnedReadHalf>,
    key: Option<FlowKey>,
    _closer: std::sync::Arc<Closer>,
}

/// Writing half of a [`TcpStream`].
#[derive(Debug)]
pub struct OwnedWriteHalf {
    tied: Tied<shim::tcp::OwnedWriteHalf>,
    key: Option<FlowKey>,
    _closer: std::sync::Arc<Closer>,
}

/// A reset by our own time-out is a time-out.
fn translate(key: Option<FlowKey>, error: io::Error) -> io::Error {
    match key {
        Some(key)
            if error.kind() == io::ErrorKind::ConnectionReset && fabric::has_timed_out(key) =>
        {
            io::ErrorKind::TimedOut.into()
        }
        _ => error,
    }
}

fn poll_read<T: AsyncRead + Unpin>(
    tied: &mut Tied<T>,
    key: Option<FlowKey>,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let before = buf.filled().len();
    match tied.with(|s| Pin::new(s).poll_read(cx, buf))? {
        Poll::Ready(Ok(())) => {
            let read = buf.filled().len() - before;
            if read >= LARGE_READ {
                fabric::touch(); // the kernel advertises the window by itself
            }
            if let Some(key) = key.filter(|_| read > 0) {
                fabric::note_read(key);
            }
            Poll::Ready(Ok(()))
        }
        Poll::Ready(Err(e)) => Poll::Ready(Err(translate(key, e))),
        Poll::Pending => Poll::Pending,
    }
}

/// Half the receive buffer: from here on `turmoil-net` sends a window update itself.
const LARGE_READ: usize = 32 * 1024;

fn poll_write<T: AsyncWrite + Unpin>(
    tied: &mut Tied<T>,
    key: Option<FlowKey>,
    cx: &mut Context<'_>,
    buf: &[u8],
) -> Poll<io::Result<usize>> {
    fabric::touch();
    match tied.with(|s| Pin::new(s).poll_write(cx, buf))? {
        Poll::Ready(result) => Poll::Ready(result.map_err(|e| translate(key, e))),
        Poll::Pending => Poll::Pending,
    }
}

fn poll_shutdown<T: AsyncWrite + Unpin>(
    tied: &mut Tied<T>,
    key: Option<FlowKey>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    fabric::touch();
    match tied.with(|s| Pin::new(s).poll_shutdown(cx))? {
        Poll::Ready(result) => Poll::Ready(result.map_err(|e| translate(key, e))),
        Poll::Pending => Poll::Pending,
    }
}

macro_rules! reads {
    ($name:ident) => {
        impl AsyncRead for $name {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let key = self.key;
                poll_read(&mut self.tied, key, cx, buf)
            }
        }
    };
}

macro_rules! writes {
    ($name:ident) => {
        impl AsyncWrite for $name {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                let key = self.key;
                poll_write(&mut self.tied, key, cx, buf)
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                let key = self.key;
                poll_shutdown(&mut self.tied, key, cx)
            }
        }
    };
}

reads!(TcpStream);
writes!(TcpStream);
reads!(OwnedReadHalf);
writes!(OwnedWriteHalf);
