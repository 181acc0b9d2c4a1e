//! Who of several instances runs a loop: the one whose session holds the loop's advisory lock. The lock ends with the session,
//! so an instance that dies or loses its database gives it up without doing anything.

use tokio::sync::{Mutex, MutexGuard};

use crate::{
    app::App,
    pool::{Fault, Lease},
    ports::Value,
    stay::shape,
};

/// One loop's seat: the session that holds its lock, and what its passes remember.
pub(crate) struct Seat<M> {
    lock: i64,
    inner: Mutex<Held<M>>,
}

/// The seat while a pass runs: passes of one instance never overlap.
pub(crate) struct Held<M> {
    lease: Option<Lease>,
    /// What passes remember while this instance leads.
    pub memory: M,
}

impl<M: Default> Seat<M> {
    /// An empty seat. `lock` tells the loops apart in the database.
    pub fn new(lock: i64) -> Self {
        let inner = Held {
            lease: None,
            memory: M::default(),
        };
        Self {
            lock,
            inner: Mutex::new(inner),
        }
    }

    /// Waits for the pass under way, if there is one.
    pub async fn sit(&self) -> MutexGuard<'_, Held<M>> {
        self.inner.lock().await
    }

    /// Takes the lead, if nobody else has it.
    pub async fn lead(&self, app: &App, held: &mut Held<M>) -> Result<bool, Fault> {
        if held.lease.is_some() {
            return Ok(true);
        }
        let mut lease = app.bounded(app.worker_pool.acquire()).await?;
        let tried = app
            .bounded(lease.run(&app.book.try_leadership, &[Value::Int(self.lock)]))
            .await?;
        match tried.rows.first().map(Vec::as_slice) {
            Some([Value::Bool(true)]) => {
                held.lease = Some(lease);
                held.memory = M::default();
                Ok(true)
            }
            Some([Value::Bool(false)]) => Ok(false),
            row => Err(Fault::Db(shape("leader", row.unwrap_or_default()))),
        }
    }
}

impl<M> Held<M> {
    /// The leader's session.
    pub fn session(&mut self) -> Result<&mut Lease, Fault> {
        self.lease.as_mut().ok_or(Fault::Late)
    }

    /// Gives up the lead by closing the session.
    pub fn stand_up(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.close();
        }
    }
}
