//! Availability search: from the cache while it is fresh, else from the database. The cache is a courtesy: what it fails at,
//! the database answers, and an answer from it says so and is at most its time to live old.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    app::App,
    contract::{CacheOutcome, Check, Id},
    deadline::within,
    error::ApiError,
    pool::Lease,
    ports::{CacheError, Value},
    stay::{Stay, date_of, shape},
    transaction::{Abort, Work},
};

/// One night of a room type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Night {
    #[serde(skip)]
    pub day: i32,
    pub night: jiff::civil::Date,
    /// Rooms left; below 0 when oversold.
    pub available: i64,
    /// Closed for sale whatever is left.
    pub stop_sell: bool,
}

/// The answer of a search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Availability {
    pub nights: Vec<Night>,
    pub cached: bool,
}

struct SearchWork(Stay);

impl Work for SearchWork {
    type Out = Vec<Night>;

    async fn run(&self, app: &App, lease: &mut Lease, _attempt: u32) -> Result<Vec<Night>, Abort> {
        read_nights(app, lease, &self.0).await
    }
}

/// Reads the nights of a stay in the transaction under way.
pub(crate) async fn read_nights(
    app: &App,
    lease: &mut Lease,
    stay: &Stay,
) -> Result<Vec<Night>, Abort> {
    let rows = lease.run(&app.book.availability, &stay.params()).await?;
    let read = |row: &Vec<Value>| match row.as_slice() {
        [
            Value::Date(day),
            Value::Int(available),
            Value::Bool(stop_sell),
        ] => Ok(Night {
            day: *day,
            night: date_of(*day).ok_or_else(|| shape("night, available, stop_sell", row))?,
            available: *available,
            stop_sell: *stop_sell,
        }),
        _ => Err(shape("night, available, stop_sell", row)),
    };
    Ok(rows.rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// The answer about a room type that the tenant does not have, or has no calendar for.
pub(crate) fn not_in_calendar() -> ApiError {
    ApiError::not_found(
        "no_inventory",
        "no night of this stay is in the calendar of this room type",
    )
}

impl App {
    /// Searches the nights of a stay.
    pub(crate) async fn availability(
        &self,
        tenant: Uuid,
        stay: Stay,
    ) -> Result<Availability, ApiError> {
        let started = self.ports.clock.monotonic();
        let result = self.search(tenant, stay).await;
        let took = self.ports.clock.monotonic().saturating_sub(started);
        self.metrics
            .observe(Id::SearchDuration, 0, took.as_secs_f64());
        let check = match &result {
            Ok(found) => {
                let whole = found.nights.len() == stay.nights() as usize;
                let open = found
                    .nights
                    .iter()
                    .all(|night| night.available > 0 && !night.stop_sell);
                if whole && open {
                    Check::Available
                } else {
                    Check::Unavailable
                }
            }
            Err(error) if error.status.is_client_error() => Check::Unavailable,
            Err(_) => Check::Error,
        };
        self.metrics.inc(Id::Checks, check as usize);
        result
    }

    async fn search(&self, tenant: Uuid, stay: Stay) -> Result<Availability, ApiError> {
        let key = format!(
            "av:{tenant}:{}:{}:{}",
            stay.room_type,
            stay.arrival,
            stay.nights()
        );
        // Called only once the breaker allows it.
        let get = async { self.ports.cache.get(&key).await };
        let reachable = match self.cached(CacheOutcome::Hit, get).await {
            Some(Some(bytes)) => {
                if let Ok(nights) = serde_json::from_slice(&bytes) {
                    return Ok(Availability {
                        nights,
                        cached: true,
                    });
                }
                true
            }
            Some(None) => true,
            None => false,
        };
        let nights = self.transact(tenant, &SearchWork(stay)).await?;
        if nights.is_empty() {
            return Err(not_in_calendar());
        }
        if reachable && let Ok(bytes) = serde_json::to_vec(&nights) {
            let stored = async {
                self.ports
                    .cache
                    .set(&key, bytes, self.config.cache_ttl)
                    .await?;
                Ok(Some(()))
            };
            // Not stored is only slower.
            let _ = self.cached(CacheOutcome::Stored, stored).await;
        }
        Ok(Availability {
            nights,
            cached: false,
        })
    }

    /// One call of the cache, through breaker and deadline; `None` when it did not answer or was not asked. `found` is how a
    /// call that gives something is counted.
    async fn cached<T>(
        &self,
        found: CacheOutcome,
        call: impl Future<Output = Result<Option<T>, CacheError>>,
    ) -> Option<Option<T>> {
        let clock = &*self.ports.clock;
        let (outcome, answer) = if self.breaker.allows(clock.monotonic()) {
            match within(clock, self.config.cache_timeout, call).await {
                Some(Ok(answer)) => {
                    self.breaker.succeeded();
                    let outcome = if answer.is_some() {
                        found
                    } else {
                        CacheOutcome::Miss
                    };
                    (outcome, Some(answer))
                }
                Some(Err(_)) | None => {
                    self.breaker.failed(clock.monotonic());
                    (CacheOutcome::Error, None)
                }
            }
        } else {
            (CacheOutcome::ShortCircuited, None)
        };
        self.metrics.inc(Id::CacheCalls, outcome as usize);
        self.metrics.set(
            Id::CacheBreakerOpen,
            f64::from(u8::from(self.breaker.is_open())),
        );
        answer
    }
}
