//! Which endpoint is the primary: each is asked, and the one on the highest timeline that is no standby is believed until a
//! session to it fails.
//!
//! One search at a time, whoever waits takes its result; after a search without a primary there is none for a while, so that
//! an outage is not answered with a storm of connections.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    config::Config,
    contract::{Attempt, Id},
    deadline::{join_all, within},
    metrics::Metrics,
    ports::{BoxFuture, Clock, Connect, DbError, Ids, Role, Session, SessionSettings, Value},
    sqlbook::SqlBook,
    stay::shape,
};

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// A belief about the primary. Sessions keep the one they were opened under and are dropped once it is outdated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Primary {
    endpoint: usize,
    timeline: i64,
    belief: u64,
}

/// What an instance knows about the database's endpoints.
pub struct Topology {
    connect: Arc<dyn Connect>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    metrics: Arc<Metrics>,
    book: Arc<SqlBook>,
    endpoints: Vec<String>,
    connect_timeout: Duration,
    app: SessionSettings,
    worker: SessionSettings,
    known: Mutex<Known>,
    searching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    primary: Option<Primary>,
    beliefs: u64,
    failures: u32,
    search_after: Duration,
    last_error: String,
}

struct Answer {
    session: Box<dyn Session>,
    standby: bool,
    timeline: i64,
}

impl Topology {
    /// Knows nothing yet.
    pub fn new(
        config: &Config,
        connect: Arc<dyn Connect>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        metrics: Arc<Metrics>,
        book: Arc<SqlBook>,
    ) -> Self {
        Self {
            connect,
            clock,
            ids,
            metrics,
            book,
            endpoints: config.database_endpoints.clone(),
            connect_timeout: config.connect_timeout,
            app: SessionSettings {
                statement_timeout: config.statement_timeout,
                lock_timeout: config.lock_timeout,
            },
            worker: SessionSettings {
                statement_timeout: config.worker_statement_timeout,
                lock_timeout: config.lock_timeout,
            },
            known: Mutex::default(),
            searching: tokio::sync::Mutex::new(()),
        }
    }

    /// The primary believed in at the moment.
    pub fn primary(&self) -> Option<Primary> {
        self.known().primary
    }

    /// A session to it failed: ask again before the next one is opened. Outdated news is ignored.
    pub fn doubt(&self, primary: Primary) {
        let mut known = self.known();
        if known.primary == Some(primary) {
            known.primary = None;
        }
    }

    /// A fresh session to the primary.
    ///
    /// # Errors
    /// What the endpoints answered, when none is a primary.
    pub async fn open(&self, role: Role) -> Result<(Box<dyn Session>, Primary), String> {
        if let Some(primary) = self.primary() {
            match self.ask(primary.endpoint, role).await {
                Ok(answer) if !answer.standby && answer.timeline == primary.timeline => {
                    self.metrics
                        .inc(Id::ConnectionAttempts, Attempt::Ok as usize);
                    return Ok((answer.session, primary));
                }
                Ok(_) => {}
                Err(_) => self
                    .metrics
                    .inc(Id::ConnectionAttempts, Attempt::Failed as usize),
            }
            self.doubt(primary);
        }
        let _turn = self.searching.lock().await;
        if let Some(primary) = self.primary() {
            // Somebody else found it while this one waited.
            let answer = self.ask(primary.endpoint, role).await;
            if let Ok(answer) = answer
                && !answer.standby
            {
                self.metrics
                    .inc(Id::ConnectionAttempts, Attempt::Ok as usize);
                return Ok((answer.session, primary));
            }
            self.doubt(primary);
        }
        self.search(role).await
    }

    async fn search(&self, role: Role) -> Result<(Box<dyn Session>, Primary), String> {
        {
            let known = self.known();
            if self.clock.monotonic() < known.search_after {
                return Err(known.last_error.clone());
            }
        }
        let asked = (0..self.endpoints.len())
            .map(|at| Box::pin(self.ask(at, role)) as BoxFuture<'_, Result<Answer, DbError>>)
            .collect();
        let mut best: Option<(usize, Answer)> = None;
        let mut reasons = Vec::new();
        for (at, answer) in join_all(asked).await.into_iter().enumerate() {
            match answer {
                Ok(answer) if answer.standby => {
                    reasons.push(format!("{}: standby", self.endpoints[at]))
                }
                Ok(answer) => {
                    if best
                        .as_ref()
                        .is_none_or(|(_, b)| answer.timeline > b.timeline)
                    {
                        best = Some((at, answer));
                    }
                }
                Err(error) => reasons.push(format!("{}: {error}", self.endpoints[at])),
            }
        }
        let Some((endpoint, answer)) = best else {
            return Err(self.not_found(&reasons));
        };
        self.metrics
            .inc(Id::ConnectionAttempts, Attempt::Ok as usize);
        self.metrics
            .set(Id::PrimaryTimeline, answer.timeline as f64);
        let mut known = self.known();
        known.failures = 0;
        known.beliefs += 1;
        let primary = Primary {
            endpoint,
            timeline: answer.timeline,
            belief: known.beliefs,
        };
        known.primary = Some(primary);
        Ok((answer.session, primary))
    }

    fn not_found(&self, reasons: &[String]) -> String {
        self.metrics
            .inc(Id::ConnectionAttempts, Attempt::Failed as usize);
        let mut known = self.known();
        let pause = (BACKOFF_FIRST * 2_u32.pow(known.failures.min(6))).min(BACKOFF_MAX);
        known.failures += 1;
        known.search_after = self.clock.monotonic() + jittered(pause, self.ids.bits());
        known.last_error = format!("no primary ({})", reasons.join("; "));
        known.last_error.clone()
    }

    async fn ask(&self, endpoint: usize, role: Role) -> Result<Answer, DbError> {
        let settings = match role {
            Role::App => self.app,
            Role::Worker => self.worker,
        };
        let work = async {
            let mut session = self
                .connect
                .connect(&self.endpoints[endpoint], role, settings)
                .await?;
            let rows = session.run(&self.book.server_state, &[]).await?;
            match rows.rows.first().map(Vec::as_slice) {
                Some([Value::Bool(standby), Value::Int(timeline), _]) => Ok(Answer {
                    session,
                    standby: *standby,
                    timeline: *timeline,
                }),
                row => Err(shape("standby, timeline, clock", row.unwrap_or_default())),
            }
        };
        within(&*self.clock, self.connect_timeout, work)
            .await
            .unwrap_or_else(|| Err(DbError::Connection("no answer in time".to_owned())))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        // No code panics while holding it; a poisoned lock still holds a whole state.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between half of `pause` and all of it.
pub fn jittered(pause: Duration, bits: u64) -> Duration {
    let half = pause / 2;
    let span = half.as_micros().max(1) as u64;
    half + Duration::from_micros(bits % span)
}
