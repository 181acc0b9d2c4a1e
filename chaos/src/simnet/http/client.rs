//! An HTTP client of a host: keep-alive connections per destination, a deadline per request.
//!
//! Invariants: a request is sent at most once (a retry on another connection happens only when not a byte of it left this
//! process); a connection goes back to the pool only after its response was read to the end; idle connections are bounded
//! in number and age. Leaves out: redirects, cookies, streaming bodies, more than one retry.

use super::super::{HostCtx, TcpStream};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::HOST};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use indexmap::IndexMap;
use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Limits of a [`Client`].
#[derive(Debug, Clone, Copy)]
pub struct ClientConfig {
    /// Idle connections kept per destination.
    pub idle_max: usize,
    /// An idle connection older than this is not used again.
    pub idle_age: Duration,
    /// Deadline of the requests that name none: connect, send and read to the end.
    pub timeout: Duration,
}

impl Default for ClientConfig {
    /// 8 idle connections for 90 s; 10 s per request.
    fn default() -> Self {
        Self {
            idle_max: 8,
            idle_age: Duration::from_secs(90),
            timeout: Duration::from_secs(10),
        }
    }
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection: the request was never sent.
    #[error("connect to {to}: {source}")]
    Connect {
        /// Destination as `host:port`.
        to: String,
        /// What connecting ended with.
        source: io::Error,
    },
    /// The deadline passed. `sent` tells whether the request may have reached the server.
    #[error("no complete response from {to} within {limit:?} ({})", if *sent { "the request was sent" } else { "the request was not sent" })]
    Timeout {
        /// Destination as `host:port`.
        to: String,
        /// The deadline.
        limit: Duration,
        /// May the server have seen the request?
        sent: bool,
    },
    /// The connection broke after the request was handed to it: whether the server acted on it is unknown.
    #[error("connection to {to} broke: {source}")]
    Broken {
        /// Destination as `host:port`.
        to: String,
        /// hyper's reason.
        source: hyper::Error,
    },
    /// The request cannot be expressed, such as an invalid destination or path.
    #[error("request to {to} is invalid: {reason}")]
    Invalid {
        /// Destination as `host:port`.
        to: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl HttpError {
    /// May the server have received the request? `false` proves that it has not.
    #[must_use]
    pub fn may_have_been_sent(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Invalid { .. } => false,
            Self::Timeout { sent, .. } => *sent,
            Self::Broken { .. } => true,
        }
    }

    /// Was the deadline the reason?
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }
}

type Sender = SendRequest<Full<Bytes>>;

struct Idle {
    sender: Sender,
    since: Duration,
}

#[derive(Default)]
struct Pool {
    /// Newest last.
    idle: IndexMap<String, Vec<Idle>>,
}

/// The client; `Send + Sync`, clones share the pool. Lives as long as the process that made it.
#[derive(Clone)]
pub struct Client {
    ctx: HostCtx,
    config: ClientConfig,
    pool: Arc<Mutex<Pool>>,
}

impl Client {
    /// A client of the host with an empty pool.
    #[must_use]
    pub fn new(ctx: &HostCtx, config: ClientConfig) -> Self {
        Self {
            ctx: ctx.clone(),
            config,
            pool: Arc::default(),
        }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `GET path` with the default deadline.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn get(
        &self,
        host: &str,
        port: u16,
        path: &str,
    ) -> Result<Response<Bytes>, HttpError> {
        let to = || format!("{host}:{port}");
        let request = Request::get(path)
            .body(Bytes::new())
            .map_err(|e| HttpError::Invalid {
                to: to(),
                reason: e.to_string(),
            })?;
        self.request(host, port, request, self.config.timeout).await
    }

    /// `POST path` with a body and its content type, with the default deadline.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn post(
        &self,
        host: &str,
        port: u16,
        path: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Result<Response<Bytes>, HttpError> {
        let to = || format!("{host}:{port}");
        let request = Request::post(path)
            .header(http::header::CONTENT_TYPE, content_type)
            .body(body.into());
        let request = request.map_err(|e| HttpError::Invalid {
            to: to(),
            reason: e.to_string(),
        })?;
        self.request(host, port, request, self.config.timeout).await
    }

    /// Sends one request to `host:port` and reads the whole response within `limit` of the host's time.
    ///
    /// # Errors
    /// See [`HttpError`]; [`HttpError::may_have_been_sent`] tells whether the outcome at the server is in doubt.
    pub async fn request(
        &self,
        host: &str,
        port: u16,
        mut request: Request<Bytes>,
        limit: Duration,
    ) -> Result<Response<Bytes>, HttpError> {
        let to = format!("{host}:{port}");
        if !request.headers().contains_key(HOST) {
            let value = HeaderValue::from_str(&to).map_err(|e| HttpError::Invalid {
                to: to.clone(),
                reason: e.to_string(),
            })?;
            request.headers_mut().insert(HOST, value);
        }
        let mut sent = false;
        let exchange = self.exchange(&to, request.map(Full::from), &mut sent);
        match self.ctx.clock.timeout(limit, exchange).await {
            Some(result) => result,
            None => Err(HttpError::Timeout { to, limit, sent }),
        }
    }

    async fn exchange(
        &self,
        to: &str,
        mut request: Request<Full<Bytes>>,
        sent: &mut bool,
    ) -> Result<Response<Bytes>, HttpError> {
        let mut retried = false;
        loop {
            let (mut sender, pooled) = match self.take_idle(to) {
                Some(sender) if !retried => (sender, true),
                _ => (self.connect(to).await?, false),
            };
            *sent = true;
            let response = match sender.try_send_request(request).await {
                Ok(response) => response,
                Err(mut refused) => match refused.take_message() {
                    Some(unsent) if pooled && !retried => {
                        (request, retried, *sent) = (unsent, true, false);
                        continue;
                    }
                    _ => {
                        return Err(HttpError::Broken {
                            to: to.to_owned(),
                            source: refused.into_error(),
                        });
                    }
                },
            };
            let (head, body) = response.into_parts();
            let body = body
                .collect()
                .await
                .map_err(|source| HttpError::Broken {
                    to: to.to_owned(),
                    source,
                })?
                .to_bytes();
            self.put_back(to, sender).await;
            return Ok(Response::from_parts(head, body));
        }
    }

    /// The newest idle connection that is still open.
    fn take_idle(&self, to: &str) -> Option<Sender> {
        let now = self.ctx.clock.monotonic();
        let mut pool = self.pool();
        let idle = pool.idle.get_mut(to)?;
        idle.retain(|entry| {
            !entry.sender.is_closed() && now.saturating_sub(entry.since) < self.config.idle_age
        });
        let newest = idle.iter().rposition(|entry| entry.sender.is_ready())?;
        Some(idle.remove(newest).sender)
    }

    async fn put_back(&self, to: &str, mut sender: Sender) {
        // Ready once the connection's task has seen the end of the response; an error means that the server closed it.
        if self.config.idle_max == 0 || sender.ready().await.is_err() {
            return;
        }
        let since = self.ctx.clock.monotonic();
        let mut pool = self.pool();
        let idle = pool.idle.entry(to.to_owned()).or_default();
        idle.push(Idle { sender, since });
        if idle.len() > self.config.idle_max {
            idle.remove(0);
        }
    }

    async fn connect(&self, to: &str) -> Result<Sender, HttpError> {
        let stream = TcpStream::connect(to)
            .await
            .map_err(|source| HttpError::Connect {
                to: to.to_owned(),
                source,
            })?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|source| HttpError::Broken {
                    to: to.to_owned(),
                    source,
                })?;
        // Its result reaches whoever waits for a response on it.
        self.ctx.spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Client of {} ({} destinations)",
            self.ctx.name,
            self.pool().idle.len()
        )
    }
}
