//! What a run leaves behind: a stream of frames, each stamped with virtual time, and its hash.
//!
//! Invariant: everything that the judge reads is in here, and nothing in here was computed by the rules. Scrapes stand beside
//! ground truth (commits, host and link states, client operations), so that the oracle can judge without metrics and the alert
//! engine without truth. Same scenario, same seed: same bytes.

mod body;

use std::sync::Arc;

use ledger::ports::Value;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use body::BodyDiff;

/// Nanoseconds of virtual time since the run began.
pub type Nanos = u64;

/// Wall time at which every run begins: 2026-03-02T00:00:00Z, a Monday, in seconds since the Unix epoch.
pub const EPOCH_UNIX_S: i64 = 1_772_409_600;

/// One thing that happened, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// Virtual time.
    pub at: Nanos,
    /// What happened.
    pub event: Event,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A scrape began at `Frame::at` and ended `duration` later.
    Scrape {
        /// Target host; job and instance labels derive from it.
        target: Arc<str>,
        /// Nanoseconds from its start to its end.
        duration: Nanos,
        /// The exposition, or why there is none.
        outcome: Result<BodyDiff, String>,
    },
    /// The rule evaluator stopped (`false`) or runs again (`true`); it runs from the start.
    Evaluator(bool),
    /// A client operation advanced.
    Op(Op),
    /// A transaction committed on a database host (the primary's truth; a standby's replay is not repeated).
    Commit(Commit),
    /// Something the database did that is no commit.
    Db {
        /// Database host.
        host: Arc<str>,
        /// What.
        what: DbEvent,
    },
    /// The broker stored a message. It may store the same id twice.
    Published {
        /// `outbox_id`, its identity.
        id: i64,
        /// Tenant.
        tenant: Uuid,
        /// Event type.
        subject: Arc<str>,
        /// Ordering key.
        key: Uuid,
        /// SHA-256 of the payload.
        payload_sha256: [u8; 32],
    },
    /// A host changed its state.
    Host {
        /// Which.
        host: Arc<str>,
        /// To what.
        state: HostState,
    },
    /// A link changed (one direction).
    Link {
        /// Sender.
        from: Arc<str>,
        /// Receiver.
        to: Arc<str>,
        /// False while nothing gets through.
        up: bool,
    },
    /// A planned fault began (`true`) or was healed (`false`).
    Fault {
        /// Index into the plan's faults.
        index: u32,
        /// Whether it acts now.
        active: bool,
    },
    /// A call of a ledger host to the cache, as the adapter saw it at the wire; calls that a breaker kept back are not here.
    CacheCall {
        /// Ledger host.
        host: Arc<str>,
        /// Whether it was answered.
        ok: bool,
    },
    /// A ledger host tried to open a database connection.
    DbConnect {
        /// Ledger host.
        host: Arc<str>,
        /// Database host.
        to: Arc<str>,
        /// Whether a session was opened.
        ok: bool,
    },
    /// The controller promoted a standby.
    Promoted {
        /// The new primary.
        host: Arc<str>,
        /// Its timeline, one higher than before.
        timeline: u32,
    },
    /// A job's trigger was answered.
    Job {
        /// `expire-holds` and the like.
        job: Arc<str>,
        /// Whether it ran to its end.
        ok: bool,
    },
    /// An operator asks the ledger's API to release or cancel an allocation that is somebody else's: on no client's behalf, so that
    /// its client does not know of it.
    Operator(Call),
}

/// State of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostState {
    /// Booted.
    Up,
    /// Stopped gracefully.
    Stopped,
    /// Killed: its kernel closed its sockets.
    Killed,
    /// Powered off.
    Crashed,
    /// Not scheduled.
    Stalled,
    /// Scheduled again.
    Resumed,
}

/// One client operation: `invoke`, then exactly one of the others; `Info` means that its outcome is not known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Op {
    /// Index into the plan's operations; joins the two frames.
    pub op: u32,
    /// Client host.
    pub client: Arc<str>,
    /// How far it is.
    pub phase: Phase,
}

/// How far an operation is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Phase {
    /// Sent for the first time (retries with the same key belong to the same operation).
    Invoke(Call),
    /// Acknowledged.
    Ok(Reply),
    /// Refused, certainly without effect: HTTP status and error code.
    Fail {
        /// HTTP status.
        status: u16,
        /// The service's error code, such as `MELMASTOON.INVENTORY.LOCK_TIMEOUT` or `insufficient_availability`.
        code: Arc<str>,
    },
    /// Unknown: it may have happened, or may yet.
    Info(Arc<str>),
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Call {
    /// Availability of a stay.
    Search(Stay),
    /// A hold; the idempotency key is derived from the operation's index, or from that of the hold which it repeats.
    Hold(Stay),
    /// Confirms the allocation of an earlier operation.
    Confirm(Uuid),
    /// Releases it.
    Release(Uuid),
    /// Cancels it.
    Cancel(Uuid),
    /// Reads it.
    Get(Uuid),
}

/// Nights of one room type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stay {
    /// Tenant that asks.
    pub tenant: Uuid,
    /// Room type.
    pub room_type: Uuid,
    /// First night, in days since 1970-01-01.
    pub arrival: i32,
    /// Nights, 1 to 30.
    pub nights: u8,
}

/// What a client was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Free rooms per night; `cached` says that the answer may be as old as the cache allows.
    Availability {
        /// Per night from arrival on.
        available: Vec<i32>,
        /// Served from the cache.
        cached: bool,
    },
    /// The allocation as the service shows it.
    Allocation {
        /// Its id.
        id: Uuid,
        /// `held`, `confirmed`, …
        status: Arc<str>,
        /// Assigned room.
        room: Option<Uuid>,
        /// End of the hold, microseconds since the Unix epoch.
        hold_until: Option<i64>,
    },
}

/// One committed transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Commit {
    /// Database host.
    pub host: Arc<str>,
    /// Log position after it; grows by one per commit, and goes on from the promoted standby's after a failover.
    pub lsn: u64,
    /// Timeline it was written on.
    pub timeline: u32,
    /// Principal: `ledger_app`, `ledger_worker`, `ledger_owner` or `postgres`.
    pub role: Arc<str>,
    /// `app.tenant_id` of the transaction.
    pub tenant: Option<Uuid>,
    /// Database's wall clock at the transaction's start (`now()`), microseconds since the Unix epoch.
    pub now_us: i64,
    /// Rows changed, in order.
    pub rows: Vec<RowChange>,
}

/// One row before and after; values in the table's column order. Encoded, an update tells of `after` only what is not as before.
#[derive(Clone, Debug, PartialEq)]
pub struct RowChange {
    /// Table (the partitioned parent for a partition's row).
    pub table: Arc<str>,
    /// Before; `None` for an insert.
    pub before: Option<Arc<[Value]>>,
    /// After; `None` for a delete.
    pub after: Option<Arc<[Value]>>,
}

/// How [`RowChange::after`] is encoded; `S` is a whole row, `V` a value.
#[derive(Serialize, Deserialize)]
enum After<S, V> {
    Deleted,
    Whole(S),
    /// Columns that differ from `before`.
    Changed(Vec<(u32, V)>),
}

impl Serialize for RowChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let after: After<&[Value], &Value> = match (&self.before, &self.after) {
            (_, None) => After::Deleted,
            (Some(before), Some(after)) if before.len() == after.len() => {
                let columns = (0u32..).zip(before.iter().zip(after.iter()));
                let changed = columns.filter(|(_, (before, after))| before != after);
                After::Changed(changed.map(|(at, (_, after))| (at, after)).collect())
            }
            (_, Some(after)) => After::Whole(after),
        };
        (&self.table, &self.before, after).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RowChange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RowChange, D::Error> {
        type Encoded = (Arc<str>, Option<Arc<[Value]>>, After<Arc<[Value]>, Value>);
        let (table, before, after) = Encoded::deserialize(deserializer)?;
        let after = match (after, &before) {
            (After::Deleted, _) => None,
            (After::Whole(row), _) => Some(row),
            (After::Changed(changed), Some(before)) => {
                let mut row: Arc<[Value]> = before.iter().cloned().collect();
                let values = Arc::get_mut(&mut row).into_iter().flatten();
                let mut changed = changed.into_iter().peekable();
                for (at, value) in (0u32..).zip(values) {
                    if let Some((_, new)) = changed.next_if(|(column, _)| *column == at) {
                        *value = new;
                    }
                }
                if changed.next().is_some() {
                    return Err(D::Error::custom("a changed column that the row has not"));
                }
                Some(row)
            }
            (After::Changed(_), None) => {
                return Err(D::Error::custom("a changed row without one before"));
            }
        };
        Ok(RowChange {
            table,
            before,
            after,
        })
    }
}

/// What a database did besides committing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DbEvent {
    /// A statement of a tenant's session (`ledger_app`) asked for row locks (or waited for another transaction's key) and got
    /// them; `waited` in nanoseconds, 0 at once. What jobs, superusers and faults lock is not told, nor how it ended.
    LockAcquired {
        /// Nanoseconds waited.
        waited: Nanos,
    },
    /// 55P03, or 57014 while waiting for a lock, in a tenant's session.
    LockTimeout,
    /// 40P01 in a tenant's session.
    Deadlock,
    /// A row was re-checked after a wait; `kept` says whether it still qualified.
    Recheck {
        /// Whether it still qualified.
        kept: bool,
    },
    /// SKIP LOCKED passed over a row.
    Skipped,
    /// A statement failed with this SQLSTATE (lock timeouts and deadlocks included).
    Error {
        /// Five characters.
        sqlstate: Arc<str>,
    },
    /// A connection ended while its COMMIT was under way: the client does not know its outcome.
    CommitInDoubt,
    /// A schema change ran (a fault or its repair): the statement.
    Ddl {
        /// Its text.
        sql: Arc<str>,
    },
}

/// Frames in the order in which they happened, encoded as they come so that a day fits into memory.
#[derive(Default)]
pub struct Recorder {
    bytes: Vec<u8>,
    frames: u64,
}

impl Recorder {
    /// Appends a frame.
    ///
    /// # Panics
    /// Never in practice: postcard fails only for types that this module does not use.
    pub fn push(&mut self, at: Nanos, event: Event) {
        let frame = Frame { at, event };
        let start = self.bytes.len();
        self.bytes = match postcard::to_extend(&frame, std::mem::take(&mut self.bytes)) {
            Ok(bytes) => bytes,
            Err(error) => unreachable!("frame at byte {start} can always be encoded: {error}"),
        };
        self.frames += 1;
    }

    /// Ends the recording.
    pub fn finish(self) -> Recording {
        let digest = Sha256::digest(&self.bytes);
        let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Recording {
            bytes: self.bytes,
            frames: self.frames,
            sha256,
        }
    }
}

/// A finished run's frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    bytes: Vec<u8>,
    frames: u64,
    sha256: String,
}

impl Recording {
    /// SHA-256 of the encoded frames, in hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Number of frames.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The encoded frames, for a bundle.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads a bundle's frames; checks that all of them decode.
    ///
    /// # Errors
    /// The byte offset of the first frame that does not decode.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Recording, usize> {
        let mut recorder = Recorder::default();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let offset = bytes.len() - rest.len();
            let (_, tail) = postcard::take_from_bytes::<Frame>(rest).map_err(|_| offset)?;
            rest = tail;
            recorder.frames += 1;
        }
        recorder.bytes = bytes;
        Ok(recorder.finish())
    }

    /// The frames in order.
    pub fn iter(&self) -> impl Iterator<Item = Frame> + '_ {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (frame, tail) = postcard::take_from_bytes::<Frame>(rest).ok()?;
            rest = tail;
            Some(frame)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[i64]) -> Option<Arc<[Value]>> {
        Some(values.iter().copied().map(Value::Int).collect())
    }

    fn change(before: Option<Arc<[Value]>>, after: Option<Arc<[Value]>>) -> RowChange {
        RowChange {
            table: "t".into(),
            before,
            after,
        }
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        for (before, after) in [
            (None, row(&[1, 2])),
            (row(&[1, 2]), None),
            (row(&[1, 2, 3]), row(&[1, 2, 3])),
            (row(&[1, 2, 3]), row(&[9, 2, 8])),
            (row(&[1, 2]), row(&[1, 2, 3])),
            (row(&[1, 2, 3]), row(&[1])),
            (None, None),
        ] {
            let written = change(before, after);
            let bytes = postcard::to_stdvec(&written).expect("encoded");
            let read: RowChange = postcard::from_bytes(&bytes).expect("decoded");
            assert_eq!(read, written);
        }
    }

    #[test]
    fn an_update_tells_of_the_row_after_it_only_what_changed() {
        let long: Vec<i64> = (0..50).collect();
        let mut other = long.clone();
        other[7] = -1;
        let size = |after| postcard::to_stdvec(&change(row(&long), after)).map(|it| it.len());
        let (same, one) = (size(row(&long)), size(row(&other)));
        assert_eq!(one.expect("encoded") - same.expect("encoded"), 3);
    }

    #[test]
    fn a_changed_column_that_no_row_has_is_an_error() {
        let beyond: After<&[Value], Value> = After::Changed(vec![(2, Value::Null)]);
        let before = row(&[1, 2]);
        for encoded in [
            postcard::to_stdvec(&("t", &before, &beyond)),
            postcard::to_stdvec(&("t", None::<Arc<[Value]>>, &beyond)),
        ] {
            let bytes = encoded.expect("encoded");
            assert!(postcard::from_bytes::<RowChange>(&bytes).is_err());
        }
    }
}
