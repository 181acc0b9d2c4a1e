//! The relay: publishes the outbox, oldest first, and marks what the broker has taken. An event is published at least once:
//! whatever fails between publication and mark is published again, under the same id.

use std::time::Duration;

use serde::Serialize;

use crate::{
    app::App,
    contract::{Id, Success},
    deadline::within,
    leadership::Held,
    pool::Fault,
    ports::{Message, Statement, Value},
    stay::shape,
    topology::jittered,
};

const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// What one pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Relayed {
    /// Whether this instance leads; if not, another does the work.
    pub leader: bool,
    /// Events published and marked.
    pub published: u64,
}

/// Why a pass stopped. Nothing is lost: what is not marked is published again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// The database.
    #[error(transparent)]
    Database(#[from] Fault),
    /// The broker.
    #[error("{0}")]
    Broker(String),
}

struct Batch {
    messages: Vec<Message>,
    ages: Vec<Duration>,
    read_at: Duration,
}

impl App {
    /// Publishes what there is, if this instance leads or can.
    ///
    /// # Errors
    /// Database or broker; the lead is given up when it was the database.
    pub async fn relay(&self) -> Result<Relayed, RelayError> {
        let mut seat = self.relay_seat.sit().await;
        let result = self.relay_all(&mut seat).await;
        if matches!(result, Err(RelayError::Database(_))) {
            seat.stand_up();
        }
        result
    }

    async fn relay_all(&self, seat: &mut Held<()>) -> Result<Relayed, RelayError> {
        let mut done = Relayed {
            leader: self.relay_seat.lead(self, seat).await?,
            published: 0,
        };
        while done.leader && !self.is_stopping() {
            let batch = self.bounded(self.outbox_batch(seat)).await?;
            let size = batch.messages.len();
            if size > 0 {
                self.publish(&batch).await?;
                self.bounded(self.mark_published(seat, &batch.messages))
                    .await?;
                done.published += size as u64;
            }
            if size < self.config.relay_batch as usize {
                break;
            }
        }
        Ok(done)
    }

    async fn outbox_batch(&self, seat: &mut Held<()>) -> Result<Batch, Fault> {
        let limit = [Value::Int(self.config.relay_batch.into())];
        let rows = seat.session()?.run(&self.book.outbox_batch, &limit).await?;
        let mut batch = Batch {
            messages: Vec::with_capacity(rows.rows.len()),
            ages: Vec::with_capacity(rows.rows.len()),
            read_at: self.ports.clock.monotonic(),
        };
        for row in &rows.rows {
            let (message, age) = read_message(row)?;
            batch.messages.push(message);
            batch.ages.push(age);
        }
        Ok(batch)
    }

    async fn publish(&self, batch: &Batch) -> Result<(), RelayError> {
        let clock = &*self.ports.clock;
        let call = self.ports.broker.publish(&batch.messages);
        let result = match within(clock, self.config.broker_timeout, call).await {
            Some(result) => result.map_err(|error| error.to_string()),
            None => Err("broker: no answer in time".to_owned()),
        };
        let count = batch.messages.len() as u64;
        if let Err(error) = result {
            self.metrics
                .add_at(Id::OutboxPublished, Success::Error as usize, count);
            return Err(RelayError::Broker(error));
        }
        self.metrics
            .add_at(Id::OutboxPublished, Success::Ok as usize, count);
        let since = clock.monotonic().saturating_sub(batch.read_at);
        for age in &batch.ages {
            self.metrics
                .observe(Id::OutboxLag, 0, (*age + since).as_secs_f64());
        }
        Ok(())
    }

    async fn mark_published(&self, seat: &mut Held<()>, messages: &[Message]) -> Result<(), Fault> {
        let session = seat.session()?;
        let mark = &self.book.outbox_published;
        if let [only] = messages {
            session.run(mark, &[Value::Int(only.id)]).await?;
            return Ok(());
        }
        let batch: Vec<(&Statement, Vec<Value>)> = messages
            .iter()
            .map(|message| (mark, vec![Value::Int(message.id)]))
            .collect();
        session.begin(None).await?;
        session.run_all(&batch).await?;
        session.commit().await
    }

    /// Runs passes until shutdown: woken by this instance's own commits, and by a poll for those of others.
    pub(crate) async fn relay_loop(&self) {
        let mut failures = 0_u32;
        while !self.is_stopping() {
            let result = self.relay().await;
            let pause = match &result {
                Ok(done) => {
                    failures = 0;
                    if done.leader {
                        self.config.relay_poll
                    } else {
                        self.config.leadership_retry
                    }
                }
                Err(_) => {
                    failures += 1;
                    let pause = BACKOFF_FIRST * 2_u32.pow((failures - 1).min(10));
                    jittered(
                        pause.min(self.config.relay_backoff_max),
                        self.ports.ids.bits(),
                    )
                }
            };
            // While the broker refuses, or another instance leads, a commit is no reason to try sooner.
            let wake = matches!(&result, Ok(done) if done.leader).then_some(&self.relay_wake);
            self.pause(pause, wake).await;
        }
        self.relay_seat.sit().await.stand_up();
    }
}

fn read_message(row: &[Value]) -> Result<(Message, Duration), Fault> {
    match row {
        [
            Value::Int(id),
            Value::Uuid(tenant),
            Value::Uuid(ordering_key),
            Value::Text(subject),
            Value::Text(payload),
            Value::Timestamp(_),
            Value::Interval(age),
        ] => Ok((
            Message {
                id: *id,
                tenant: *tenant,
                subject: subject.to_string(),
                ordering_key: *ordering_key,
                payload: payload.to_string(),
            },
            Duration::from_micros((*age).max(0) as u64),
        )),
        _ => Err(Fault::Db(shape("a row of outbox_batch", row))),
    }
}
