//! The cache host: a key-value store with times to live, lost when the host goes down, as a cache may be.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ledger::ports::{BoxFuture, Cache, CacheError};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{World, wire::Wire};
use crate::{
    recording::Event,
    simnet::{HostCtx, TcpListener},
};

/// Where it listens.
pub const ADDRESS: &str = "cache:6379";

/// Entries kept; the oldest insertion is evicted beyond it.
const ENTRIES_MAX: usize = 100_000;

#[derive(Serialize, Deserialize)]
enum Request {
    Get(String),
    Set(String, Vec<u8>, Duration),
}

#[derive(Serialize, Deserialize)]
enum Reply {
    Value(Option<Vec<u8>>),
    Stored,
}

#[derive(Default)]
struct Entries(BTreeMap<String, (Duration, Vec<u8>)>);

impl Entries {
    fn answer(&mut self, request: Request, now: Duration) -> Reply {
        match request {
            Request::Get(key) => {
                let value = self
                    .0
                    .get(&key)
                    .filter(|(until, _)| *until > now)
                    .map(|(_, value)| value.clone());
                if value.is_none() {
                    self.0.remove(&key);
                }
                Reply::Value(value)
            }
            Request::Set(key, value, ttl) => {
                if self.0.len() >= ENTRIES_MAX {
                    self.0.retain(|_, (until, _)| *until > now);
                }
                if self.0.len() < ENTRIES_MAX {
                    self.0.insert(key, (now + ttl, value));
                }
                Reply::Stored
            }
        }
    }
}

/// The host: serves until it is stopped.
pub async fn run(ctx: HostCtx) {
    let Ok(listener) = TcpListener::bind("0.0.0.0:6379").await else {
        return;
    };
    let entries = Arc::new(std::sync::Mutex::new(Entries::default()));
    loop {
        let stream = tokio::select! {
            biased;
            () = ctx.stop.wait() => return,
            accepted = listener.accept() => match accepted { Ok((stream, _)) => stream, Err(_) => continue },
        };
        let (entries, clock) = (entries.clone(), ctx.clock.clone());
        ctx.spawn(async move {
            let mut wire = Wire::new(stream);
            while let Ok(request) = wire.receive::<Request>().await {
                let reply = super::lock(&entries).answer(request, clock.monotonic());
                if wire.send(&reply).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// A ledger's connection to the cache host. One request at a time; a failed one drops the connection.
pub struct SimCache {
    world: Arc<World>,
    host: Arc<str>,
    wire: Mutex<Option<Wire>>,
}

impl SimCache {
    /// The cache as seen from `host`.
    pub fn new(world: Arc<World>, host: Arc<str>) -> SimCache {
        SimCache {
            world,
            host,
            wire: Mutex::new(None),
        }
    }

    async fn call(&self, request: Request) -> Result<Reply, CacheError> {
        // A caller that gives up drops this future: the guard says so, and the connection is not used again.
        let mut unanswered = Unanswered {
            cache: self,
            answered: false,
        };
        let mut slot = self.wire.lock().await;
        let mut wire = match slot.take() {
            Some(wire) => wire,
            None => Wire::connect(ADDRESS)
                .await
                .map_err(|error| CacheError(error.to_string()))?,
        };
        wire.send(&request)
            .await
            .map_err(|error| CacheError(error.to_string()))?;
        let reply = wire
            .receive()
            .await
            .map_err(|error| CacheError(error.to_string()))?;
        *slot = Some(wire);
        unanswered.answered = true;
        Ok(reply)
    }
}

struct Unanswered<'a> {
    cache: &'a SimCache,
    answered: bool,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.cache.world.record(Event::CacheCall {
            host: self.cache.host.clone(),
            ok: self.answered,
        });
    }
}

impl Cache for SimCache {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, CacheError>> {
        Box::pin(async move {
            match self.call(Request::Get(key.to_owned())).await? {
                Reply::Value(value) => Ok(value),
                Reply::Stored => Err(CacheError("a get was answered as a set".into())),
            }
        })
    }

    fn set<'a>(
        &'a self,
        key: &'a str,
        value: Vec<u8>,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), CacheError>> {
        Box::pin(async move {
            match self.call(Request::Set(key.to_owned(), value, ttl)).await? {
                Reply::Stored => Ok(()),
                Reply::Value(_) => Err(CacheError("a set was answered as a get".into())),
            }
        })
    }
}
