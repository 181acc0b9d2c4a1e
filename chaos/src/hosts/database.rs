//! The database host: the simulated database behind three ports: sessions, log shipping, control.
//!
//! The [`Disk`] outlives the host's reboots; sessions do not. A reply is delayed by what the statement cost this host's cores.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use ::ledger::ports::{DbError, Role, Rows, SessionSettings, Value};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    World,
    disk::{Closing, Disk},
    lock,
    wire::Wire,
};
use crate::{
    recording::{DbEvent, Event},
    simdb::{LogRecord, Request},
    simnet::{HostCtx, TcpListener},
};

/// Where sessions are served.
pub const SESSION_PORT: u16 = 5432;
/// Where the log is shipped from.
pub const LOG_PORT: u16 = 5433;
/// Where the controller asks.
pub const CONTROL_PORT: u16 = 5434;

/// What a client sends on a session; each message is answered by one [`Answer`].
#[derive(Serialize, Deserialize)]
pub(super) enum Ask {
    Open(Role, SessionSettings),
    /// Makes the statement known to this connection under the next number.
    Prepare {
        name: Arc<str>,
        sql: Arc<str>,
    },
    Begin(Option<Uuid>),
    Run(u32, Vec<Value>),
    Commit,
    Rollback,
}

pub(super) type Answer = Result<Rows, DbError>;

/// What the controller asks.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Control {
    /// How it stands.
    State,
    /// Become the primary.
    Promote,
}

/// The host: recovers what its disk has and serves until it is stopped. A fenced one serves nothing.
pub async fn run(ctx: HostCtx, world: Arc<World>, peer: &'static str) {
    let disk = world.disks[&*ctx.name].clone();
    {
        let mut inner = lock(&disk.inner);
        if inner.fenced {
            return;
        }
        if ctx.boot > 1 {
            inner.db.crash_recover();
            inner.waiting.clear();
            inner.tenants.clear();
            inner.reports.clear();
        }
        inner.armed = None;
    }
    let (timers, timed) = (ctx.clone(), disk.clone());
    ctx.spawn(keep_deadlines(timers, world.clone(), timed));
    if disk.state().standby {
        ctx.spawn(follow(ctx.clone(), world.clone(), disk.clone(), peer));
    }
    let ports: [(u16, Serve); 3] = [
        (SESSION_PORT, Serve::Sessions),
        (LOG_PORT, Serve::Log),
        (CONTROL_PORT, Serve::Control),
    ];
    for (port, what) in ports {
        let Ok(listener) = TcpListener::bind(format!("0.0.0.0:{port}")).await else {
            return;
        };
        let (host, world, disk) = (ctx.clone(), world.clone(), disk.clone());
        ctx.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (ctx, world, disk) = (host.clone(), world.clone(), disk.clone());
                let wire = Wire::new(stream);
                match what {
                    Serve::Sessions => {
                        drop(host.spawn(async move {
                            drop(serve_session(ctx, world, disk, wire).await)
                        }))
                    }
                    Serve::Log => {
                        drop(host.spawn(async move { drop(ship(world, disk, wire).await) }))
                    }
                    Serve::Control => {
                        drop(host.spawn(async move { drop(control(world, disk, wire).await) }))
                    }
                }
            }
        });
    }
    ctx.stop.wait().await;
}

#[derive(Clone, Copy)]
enum Serve {
    Sessions,
    Log,
    Control,
}

/// Wakes the engine at its deadlines.
async fn keep_deadlines(ctx: HostCtx, world: Arc<World>, disk: Disk) {
    loop {
        let deadline = {
            let mut inner = lock(&disk.inner);
            inner.armed = inner.db.next_deadline();
            inner.armed
        };
        let Some(deadline) = deadline else {
            disk.deadline_moved.notified().await;
            continue;
        };
        tokio::select! {
            biased;
            () = disk.deadline_moved.notified() => continue,
            () = ctx.sim.sleep_until(Duration::from_nanos(deadline)) => {}
        }
        let mut inner = lock(&disk.inner);
        inner.db.advance(world.now());
        disk.route(&world, &mut inner);
    }
}

async fn serve_session(
    ctx: HostCtx,
    world: Arc<World>,
    disk: Disk,
    mut wire: Wire,
) -> io::Result<()> {
    let Ask::Open(role, settings) = wire.receive().await? else {
        return Ok(());
    };
    let name = match role {
        Role::App => "ledger_app",
        Role::Worker => "ledger_worker",
    };
    let opened = lock(&disk.inner).db.open(name, settings);
    let session = match opened {
        Ok(session) => session,
        Err(error) => return wire.send(&Answer::Err(error)).await,
    };
    if role == Role::App {
        lock(&disk.inner).tenants.insert(session);
    }
    let _closing = Closing {
        disk: &disk,
        world: &world,
        session,
    };
    wire.send(&Answer::Ok(Rows::default())).await?;
    let mut prepared: Vec<Prepared> = Vec::new();
    loop {
        let ask = wire.receive().await?;
        let mut extra = Duration::ZERO;
        let request = match ask {
            Ask::Open(..) => return Ok(()),
            Ask::Prepare { name, sql } => {
                let shipped = world
                    .schema
                    .statements
                    .iter()
                    .any(|(known, text)| **known == *name && **text == *sql);
                prepared.push(Prepared {
                    name,
                    changed: (!shipped).then_some(sql),
                });
                continue;
            }
            Ask::Begin(tenant) => Request::Begin { tenant },
            Ask::Commit => Request::Commit,
            Ask::Rollback => Request::Rollback,
            Ask::Run(number, params) => {
                let Some(Prepared { name, changed }) = prepared.get(number as usize) else {
                    return Ok(());
                };
                extra = world
                    .switches()
                    .slow_statements
                    .get(name)
                    .copied()
                    .unwrap_or_default();
                match changed {
                    None => Request::Run {
                        statement: name.clone(),
                        params,
                    },
                    Some(sql) => Request::Text {
                        sql: sql.clone(),
                        params,
                    },
                }
            }
        };
        let committing = matches!(request, Request::Commit);
        let wall = ctx.clock.unix_nanos() / 1_000;
        let mut in_doubt = InDoubt {
            world: &world,
            host: &disk.host,
            armed: committing,
        };
        let Ok(finished) = disk.submit(&world, session, request, wall).await else {
            return Ok(());
        };
        ctx.cpu.work_nanos(finished.cost).await;
        if !extra.is_zero() {
            ctx.clock.sleep(extra).await;
        }
        wire.queue(&finished.answer)?;
        if !wire.has_message() {
            wire.flush().await?;
        }
        in_doubt.armed = false;
    }
}

/// A statement as one connection knows it.
struct Prepared {
    name: Arc<str>,
    /// Its text, if the release changed it.
    changed: Option<Arc<str>>,
}

/// Records that a client was left without an answer to its COMMIT.
struct InDoubt<'a> {
    world: &'a World,
    host: &'a Arc<str>,
    armed: bool,
}

impl Drop for InDoubt<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.world.record(Event::Db {
                host: self.host.clone(),
                what: DbEvent::CommitInDoubt,
            });
        }
    }
}

/// Ships the log to a standby and takes its acknowledgements.
async fn ship(world: Arc<World>, disk: Disk, mut wire: Wire) -> io::Result<()> {
    let mut sent: u64 = wire.receive().await?;
    loop {
        let records: Vec<Arc<LogRecord>> = lock(&disk.inner)
            .log
            .iter()
            .filter(|record| record.lsn() > sent)
            .cloned()
            .collect();
        if let Some(last) = records.last() {
            sent = last.lsn();
            wire.send(&records).await?;
        }
        tokio::select! {
            biased;
            acknowledged = wire.receive::<u64>() => {
                let acknowledged = acknowledged?;
                let mut inner = lock(&disk.inner);
                inner.log.retain(|record| record.lsn() > acknowledged);
                inner.db.acknowledge(acknowledged);
                disk.route(&world, &mut inner);
            }
            () = disk.log_grew.notified() => {}
        }
    }
}

/// Time between a standby's attempts to reach the primary.
const FOLLOW_RETRY: Duration = Duration::from_secs(1);

/// Follows the primary until this one is promoted.
async fn follow(ctx: HostCtx, world: Arc<World>, disk: Disk, primary: &'static str) {
    while disk.state().standby {
        let _ = follow_once(&world, &disk, primary).await;
        ctx.clock.sleep(FOLLOW_RETRY).await;
    }
}

async fn follow_once(world: &World, disk: &Disk, primary: &str) -> io::Result<()> {
    let mut wire = Wire::connect(&format!("{primary}:{LOG_PORT}")).await?;
    let from = lock(&disk.inner).db.lsn();
    wire.send(&from).await?;
    loop {
        let received: Vec<LogRecord> = wire.receive().await?;
        let records: Vec<Arc<LogRecord>> = {
            let log = &lock(&world.disks[primary].inner).log;
            let kept = |record| kept_once(log, record);
            received.into_iter().map(kept).collect()
        };
        let applied = {
            let mut inner = lock(&disk.inner);
            if !inner.db.is_standby() {
                return Ok(());
            }
            let shown = world.last_commit();
            inner.unshown.retain(|commit| commit.lsn > shown);
            for record in records {
                inner.db.apply(&record).map_err(io::Error::other)?;
                inner.unshown.push_back(record.commit.clone());
            }
            inner.db.lsn()
        };
        wire.send(&applied).await?;
    }
}

/// What the wire brought decides; where the sender's memory holds the very same, both hosts' rows are kept once. A day's rows
/// would fill half of the run's memory otherwise.
fn kept_once(log: &VecDeque<Arc<LogRecord>>, record: LogRecord) -> Arc<LogRecord> {
    let mut known = log.iter().filter(|known| known.lsn() == record.lsn());
    match known.next().filter(|known| ***known == record) {
        Some(known) => known.clone(),
        None => Arc::new(record),
    }
}

async fn control(world: Arc<World>, disk: Disk, mut wire: Wire) -> io::Result<()> {
    loop {
        if let Control::Promote = wire.receive().await? {
            disk.promote(&world);
        }
        wire.send(&disk.state()).await?;
    }
}
