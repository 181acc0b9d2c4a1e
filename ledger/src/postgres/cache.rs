//! A bounded cache in memory, of this instance alone. What is full gives up the entry that would end first.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::ports::{BoxFuture, Cache, CacheError, Clock};

/// Entries with a time to live.
pub struct MemoryCache {
    clock: Arc<dyn Clock>,
    entries_max: usize,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_key: BTreeMap<String, (Duration, Vec<u8>)>,
    /// The same keys by the time at which they end.
    by_end: BTreeSet<(Duration, String)>,
}

impl Entries {
    fn remove(&mut self, key: &str) {
        if let Some((end, _)) = self.by_key.remove(key) {
            self.by_end.remove(&(end, key.to_owned()));
        }
    }
}

impl MemoryCache {
    /// A cache of at most `entries_max` entries.
    pub fn new(clock: Arc<dyn Clock>, entries_max: usize) -> Self {
        Self {
            clock,
            entries_max: entries_max.max(1),
            entries: Mutex::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        // A cache may lose anything: a poisoned one is as good as any.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache for MemoryCache {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, CacheError>> {
        Box::pin(async move {
            let now = self.clock.monotonic();
            let entries = self.lock();
            let found = entries.by_key.get(key).filter(|(end, _)| now < *end);
            Ok(found.map(|(_, value)| value.clone()))
        })
    }

    fn set<'a>(
        &'a self,
        key: &'a str,
        value: Vec<u8>,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), CacheError>> {
        Box::pin(async move {
            let end = self.clock.monotonic() + ttl;
            let mut entries = self.lock();
            entries.remove(key);
            while entries.by_key.len() >= self.entries_max {
                let Some((_, first)) = entries.by_end.pop_first() else {
                    break;
                };
                entries.by_key.remove(&first);
            }
            entries.by_end.insert((end, key.to_owned()));
            entries.by_key.insert(key.to_owned(), (end, value));
            Ok(())
        })
    }
}
