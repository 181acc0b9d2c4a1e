//! Every metric of the service, declared once: name, kind, unit, help, labels and the label values that exist.
//!
//! All series exist from the start, or from when the service knows whom they are about: a counter that is born with its first
//! event hides that event from `increase`. Nothing that a request says is ever a label value; tenants, properties and subjects
//! are those of the service's own tables and settings, so that nobody outside decides how many series there are. Rules,
//! dashboards and tests read this table.

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down. Absent until it is first set: a value never read is unknown, not 0.
    Gauge,
    /// Cumulative buckets with these upper bounds, then `+Inf`.
    Histogram(&'static [f64]),
}

/// Which series a metric has.
#[derive(Clone, Copy, Debug)]
pub enum Series {
    /// One, without labels.
    One,
    /// One per value of a label: `(label, values)`.
    Per(&'static str, &'static [&'static str]),
    /// One per pair: label and values of the outer, then of the inner.
    Pairs(
        &'static str,
        &'static [&'static str],
        &'static str,
        &'static [&'static str],
    ),
    /// One per member of a registry, from when it is known.
    Each(Registry),
    /// One per member of a registry and value of a label.
    EachPer(Registry, &'static str, &'static [&'static str]),
}

/// Whose members are label values of an open family of series: known at run time, and never from a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Registry {
    /// Customers of the service.
    Tenant,
    /// Their houses.
    Property,
    /// What the service subscribes to, and the subscriptions of others that it answers for.
    Subject,
    /// What a container runtime runs.
    Container,
}

impl Registry {
    /// Those whose members the service itself tells to its metrics.
    pub const OWN: [Registry; 3] = [Registry::Tenant, Registry::Property, Registry::Subject];

    /// The label.
    pub const fn label(self) -> &'static str {
        match self {
            Registry::Tenant => "tenant",
            Registry::Property => "property",
            Registry::Subject => "subject",
            Registry::Container => "container",
        }
    }
}

/// One row of the contract.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Name as exposed.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Unit of the value, `1` for plain counts.
    pub unit: &'static str,
    /// One sentence, exposed as `# HELP`.
    pub help: &'static str,
    /// Its series.
    pub series: Series,
}

macro_rules! label_values {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $(#[doc = concat!("`", $text, "`")] $variant,)* }

        impl $name {
            /// All values, in the order of the variants.
            pub const VALUES: &[&str] = &[$($text),*];

            /// The value as exposed.
            pub const fn as_str(self) -> &'static str {
                Self::VALUES[self as usize]
            }
        }
    };
}

label_values! {
    /// An operation on an allocation.
    Op { Hold = "hold", Confirm = "confirm", Release = "release", Cancel = "cancel", }
}
label_values! {
    /// How an operation ended.
    Outcome {
        Ok = "ok", Repeated = "repeated", Insufficient = "insufficient_availability", Conflict = "conflict",
        Invalid = "invalid", LockTimeout = "lock_timeout", Unavailable = "unavailable", Unknown = "outcome_unknown",
        Frozen = "frozen", Error = "error",
    }
}
label_values! {
    /// How a call of the cache ended.
    CacheOutcome { Hit = "hit", Miss = "miss", Stored = "stored", Error = "error", ShortCircuited = "short_circuited", }
}
label_values! {
    /// How waiting for row locks ended.
    LockOutcome { Acquired = "acquired", Timeout = "timeout", Deadlock = "deadlock", }
}
label_values! {
    /// Whether something worked.
    Success { Ok = "ok", Error = "error", }
}
label_values! {
    /// Whether a connection to the primary was made.
    Attempt { Ok = "ok", Failed = "failed", }
}
label_values! {
    /// Where a booking came from; what is not listed is `other`.
    ChannelLabel { Direct = "direct", Channel = "channel", WalkIn = "walk_in", Other = "other", }
}
label_values! {
    /// Why an allocation failed for good.
    Reason {
        Insufficient = "insufficient_availability", LockTimeout = "lock_timeout", Unavailable = "unavailable",
        Unknown = "outcome_unknown", Error = "error",
    }
}
label_values! {
    /// What a search for rooms found.
    Check { Available = "available", Unavailable = "unavailable", Error = "error", }
}
label_values! {
    /// How a group hold ended; it takes all of its rooms or none.
    GroupOutcome {
        Ok = "ok", PartialFail = "partial_fail", LockTimeout = "lock_timeout", Unavailable = "unavailable", Error = "error",
    }
}
label_values! {
    /// How a rotation of partitions ended.
    Rotation { Success = "success", Failure = "failure", }
}
label_values! {
    /// What a reconciliation found: counters that differ from allocations, or rejections for want of rooms that were there.
    Drift { Counter = "counter", Rejection = "rejection", }
}
label_values! {
    /// A table that is partitioned by date.
    Partitioned { Nights = "room_type_inventory_daily", }
}
label_values! {
    /// A pool of sessions.
    PoolLabel { App = "app", Worker = "worker", }
}
label_values! {
    /// A route of the HTTP API.
    Route {
        Availability = "/v1/room-types/{id}/availability", Holds = "/v1/holds", Allocation = "/v1/allocations/{id}",
        Confirm = "/v1/allocations/{id}/confirm", Release = "/v1/allocations/{id}/release",
        Cancel = "/v1/allocations/{id}/cancel", ExpireHolds = "/internal/jobs/expire-holds",
        RelayOutbox = "/internal/jobs/relay-outbox", Audit = "/internal/jobs/audit-overbooking",
        StopSell = "/internal/admin/stop-sell-property", Freeze = "/internal/admin/freeze-tenant-writes",
        Replay = "/internal/admin/replay-outbox", Metrics = "/metrics",
        Health = "/health", Unmatched = "unmatched",
    }
}
label_values! {
    /// A status code of the HTTP API.
    Code {
        C200 = "200", C201 = "201", C202 = "202", C400 = "400", C401 = "401", C403 = "403", C404 = "404", C405 = "405", C409 = "409", C413 = "413",
        C422 = "422", C500 = "500", C503 = "503", Other = "other",
    }
}
label_values! {
    /// SQLSTATEs worth telling apart; the rest is `other`, a lost connection `connection`, and a 23514 without a CHECK that
    /// refused, which is a row without a partition, `no_partition`.
    SqlState {
        Lock = "55P03", Cancelled = "57014", Deadlock = "40P01", Serialization = "40001", Check = "23514",
        Exclusion = "23P01", Unique = "23505", ForeignKey = "23503", Privilege = "42501", ReadOnly = "25006",
        Shutdown = "57P01", Starting = "57P03", TooMany = "53300", DiskFull = "53100", Connection = "connection",
        NoPartition = "no_partition", Other = "other",
    }
}

impl SqlState {
    /// The label of a server's SQLSTATE; `constraint` says whether the server named a constraint that refused.
    pub fn of(sqlstate: &str, constraint: bool) -> Self {
        use SqlState::*;
        if sqlstate == Check.as_str() && !constraint {
            return NoPartition;
        }
        [
            Lock,
            Cancelled,
            Deadlock,
            Serialization,
            Check,
            Exclusion,
            Unique,
            ForeignKey,
            Privilege,
            ReadOnly,
            Shutdown,
            Starting,
            TooMany,
            DiskFull,
        ]
        .into_iter()
        .find(|known| known.as_str() == sqlstate)
        .unwrap_or(Other)
    }
}

impl Code {
    /// The label of a status code.
    pub fn of(status: u16) -> Self {
        use Code::*;
        match status {
            200 => C200,
            201 => C201,
            202 => C202,
            400 => C400,
            401 => C401,
            403 => C403,
            404 => C404,
            405 => C405,
            409 => C409,
            413 => C413,
            422 => C422,
            500 => C500,
            503 => C503,
            _ => Other,
        }
    }
}

const SECONDS: Kind = Kind::Histogram(&[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5, 0.8, 1.0, 2.0, 5.0,
]);
const LOCK_MS: Kind = Kind::Histogram(&[
    1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 700.0, 800.0, 1000.0,
]);
const LAG_SECONDS: Kind = Kind::Histogram(&[
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0,
]);
const PUBLICATION_MS: Kind = Kind::Histogram(&[
    10.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0, 30_000.0,
]);
const QUERY_SECONDS: Kind =
    Kind::Histogram(&[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 0.8, 2.0]);

macro_rules! contract {
    ($($id:ident $kind:expr, $name:literal, $unit:literal, $series:expr, $help:literal;)*) => {
        /// The row of a metric in [`METRICS`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Id { $(#[doc = concat!("`", $name, "`")] $id,)* }

        /// The contract.
        pub const METRICS: &[Metric] = &[$(Metric { name: $name, kind: $kind, unit: $unit, help: $help, series: $series },)*];
    };
}

contract! {
    OverbookingActual Kind::Counter, "inventory_overbooking_actual_total", "1", Series::One,
        "Oversold room-nights seen by the auditor, counted from allocations, once per night and pass.";
    AllocationDuration SECONDS, "inventory_allocation_duration_seconds", "seconds", Series::Per("op", Op::VALUES),
        "Time of an operation on an allocation, retries included.";
    Allocations Kind::Counter, "inventory_allocations_total", "1", Series::Pairs("op", Op::VALUES, "outcome", Outcome::VALUES),
        "Operations on allocations by how they ended.";
    AllocationFailed Kind::Counter, "inventory_allocation_failed_total", "1",
        Series::Pairs("channel", ChannelLabel::VALUES, "reasonCode", Reason::VALUES),
        "Holds that failed for good, by the channel they came from.";
    SearchDuration SECONDS, "inventory_search_duration_seconds", "seconds", Series::One,
        "Time of an availability search, from cache or database.";
    Checks Kind::Counter, "inventory_checks_total", "1", Series::Per("status", Check::VALUES),
        "Availability searches by what they found.";
    CacheCalls Kind::Counter, "inventory_cache_calls_total", "1", Series::Per("outcome", CacheOutcome::VALUES),
        "Calls of the cache; short_circuited were not made because the breaker was open.";
    CacheBreakerOpen Kind::Gauge, "inventory_cache_breaker_open", "1", Series::One,
        "1 while the cache's breaker is open or half open.";
    LockWait LOCK_MS, "inventory_allocation_lock_wait_ms", "milliseconds", Series::One,
        "Duration of the statements that take row locks: the wait, plus the little they do besides.";
    LockAcquisitions Kind::Counter, "inventory_allocation_lock_acquisitions_total", "1",
        Series::Per("outcome", LockOutcome::VALUES), "Tenants' statements that ask for row locks, by how they ended.";
    OutboxLag LAG_SECONDS, "inventory_outbox_lag_seconds", "seconds", Series::One,
        "Age of an event when the broker had taken it.";
    OutboxOldest Kind::Gauge, "inventory_outbox_oldest_seconds", "seconds", Series::One,
        "Age of the oldest unpublished event, 0 when there is none, as last read from the database.";
    OutboxPublished Kind::Counter, "inventory_outbox_published_total", "1", Series::Per("outcome", Success::VALUES),
        "Events handed to the broker, by whether it took them; repetitions included.";
    OutboxDead Kind::Gauge, "inventory_outbox_dead_rows", "1", Series::One,
        "Events that were given up and stand in outbox_dead, as last read from the database.";
    InboxUndelivered Kind::Gauge, "inventory_inbox_undelivered_messages", "1", Series::Each(Registry::Subject),
        "Messages of a subscription that wait for delivery, as last read from the broker.";
    InboxDeadLetters Kind::Gauge, "inventory_inbox_dead_letters", "1", Series::Each(Registry::Subject),
        "Dead letters of a subscription, as last read from the broker.";
    InboxRefresh Kind::Gauge, "inventory_inbox_last_refresh_timestamp_seconds", "seconds", Series::One,
        "When the gauges read from the broker were last read, by this host's clock.";
    ReaccommodationLatency PUBLICATION_MS, "inventory_reaccommodation_pub_latency_ms", "milliseconds", Series::One,
        "From a room out of order to the publication of each stay that needs another room.";
    HoldExpiryLag LAG_SECONDS, "inventory_hold_expiry_lag_seconds", "seconds", Series::One,
        "How late the sweeper came to a hold that it expired.";
    HoldExpiryOldest Kind::Gauge, "inventory_hold_expiry_oldest_seconds", "seconds", Series::One,
        "How late the oldest ended hold is that still counts, 0 when there is none, as last read from the database.";
    SweeperLastSuccess Kind::Gauge, "inventory_sweeper_last_success_timestamp_seconds", "seconds", Series::One,
        "When a sweep last ran to its end, on any instance, as last read from the database.";
    SweeperRuns Kind::Counter, "inventory_sweeper_runs_total", "1", Series::Per("outcome", Success::VALUES),
        "Sweeps of this instance by how they ended.";
    HoldsExpired Kind::Counter, "inventory_holds_expired_total", "1", Series::One, "Holds expired by the sweeper.";
    SweeperSkipped Kind::Counter, "inventory_sweeper_skipped_due_to_advance_total", "1", Series::One,
        "Candidates of the sweeper that somebody held or had changed since they were read.";
    CalendarHorizon Kind::Gauge, "inventory_calendar_horizon_days_min", "days", Series::Each(Registry::Property),
        "Days from today to the first night that a room type of the property does not have, the least of its room types.";
    PartitionRotation Kind::Counter, "inventory_partition_rotation_total", "1", Series::Per("outcome", Rotation::VALUES),
        "Rotations of partitions that ran on this instance.";
    RotationLastSuccess Kind::Gauge, "inventory_partition_rotation_last_success_timestamp_seconds", "seconds", Series::One,
        "When a rotation of partitions last succeeded, on any instance, as last read from the database.";
    RotationLastFailure Kind::Gauge, "inventory_partition_rotation_last_failure_timestamp_seconds", "seconds", Series::One,
        "When a rotation of partitions last failed, on any instance, as last read from the database.";
    DefaultPartitionRows Kind::Gauge, "inventory_default_partition_rows", "1", Series::Per("table", Partitioned::VALUES),
        "Rows in a table's default partition, as last read from the database.";
    PolicyUsed Kind::Gauge, "inventory_overbooking_policy_used_ratio", "ratio", Series::Each(Registry::Property),
        "Greatest share of the rooms above capacity that the policy allows and that are sold, over the nights that are not oversold.";
    ReconciliationDrift Kind::Gauge, "inventory_reconciliation_drift", "1", Series::Per("kind", Drift::VALUES),
        "What the last reconciliation found, on any instance, as last read from the database.";
    ManualReleases Kind::Counter, "inventory_manual_releases_total", "1", Series::Each(Registry::Property),
        "Allocations that an operator released by hand.";
    GroupHolds Kind::Counter, "inventory_group_hold_total", "1", Series::EachPer(Registry::Tenant, "outcome", GroupOutcome::VALUES),
        "Group holds by how they ended.";
    OfflineLost Kind::Counter, "inventory_offline_arbitration_lost_total", "1", Series::Each(Registry::Tenant),
        "Offline writes that lost their arbitration.";
    OfflinePushed Kind::Counter, "inventory_offline_arbitration_pushed_total", "1", Series::Each(Registry::Tenant),
        "Offline writes that devices pushed.";
    TenantMismatch Kind::Counter, "inventory_tenant_mismatch_total", "1", Series::One,
        "Requests refused because they named a tenant that is not theirs.";
    CanaryLeaks Kind::Counter, "inventory_canary_leaks_total", "1", Series::One,
        "Rows of another tenant that the canary could read, once per row and pass.";
    ClockDrift Kind::Gauge, "inventory_clock_drift_seconds", "seconds", Series::One,
        "How far this host's clock is ahead of the primary database's, as far as waiting for the answer does not explain it.";
    CollectorRefresh Kind::Gauge, "inventory_collector_last_refresh_timestamp_seconds", "seconds", Series::One,
        "When the gauges read from the database were last read, by this host's clock.";
    PrimaryTimeline Kind::Gauge, "inventory_db_primary_timeline", "1", Series::One,
        "Timeline of the primary that this instance talks to; it grows with each promotion.";
    PgErrors Kind::Counter, "pg_errors_total", "1", Series::Per("code", SqlState::VALUES),
        "Errors of the database by SQLSTATE.";
    PoolSize Kind::Gauge, "db_pool_size", "1", Series::Per("pool", PoolLabel::VALUES), "Sessions that a pool may have.";
    ConnectionsUsed Kind::Gauge, "db_connections_used", "1", Series::Per("pool", PoolLabel::VALUES),
        "Sessions of a pool that somebody is using.";
    ConnectionAttempts Kind::Counter, "db_connection_attempts_total", "1", Series::Per("status", Attempt::VALUES),
        "Attempts to connect to the primary; failed also when no endpoint says that it is one.";
    QueryDuration QUERY_SECONDS, "db_query_duration_seconds", "seconds", Series::One,
        "Time of one call of a database session: a statement, a batch, BEGIN or COMMIT.";
    HttpRequests Kind::Counter, "http_requests_total", "1", Series::Pairs("route", Route::VALUES, "code", Code::VALUES),
        "Requests answered.";
    ProcessStart Kind::Gauge, "process_start_time_seconds", "seconds", Series::One, "When this process started.";
}

/// Metrics whose part of the service does not exist yet: their counters stay 0, their gauges absent. The list can only shrink: a
/// test of whole runs fails when one of them moves, and when another never does.
pub const UNMOVED: &[(Id, &str)] = &[
    (Id::OutboxDead, "no event is given up yet"),
    (Id::InboxUndelivered, "there is no inbox yet"),
    (Id::InboxDeadLetters, "there is no inbox yet"),
    (Id::InboxRefresh, "there is no inbox yet"),
    (
        Id::ReaccommodationLatency,
        "rooms cannot be out of order yet",
    ),
    (
        Id::CalendarHorizon,
        "nobody extends the calendar or counts its nights yet",
    ),
    (Id::PartitionRotation, "partitions are not rotated yet"),
    (Id::RotationLastSuccess, "partitions are not rotated yet"),
    (Id::RotationLastFailure, "partitions are not rotated yet"),
    (Id::DefaultPartitionRows, "partitions are not rotated yet"),
    (Id::PolicyUsed, "no property has a policy yet"),
    (Id::ReconciliationDrift, "nothing is reconciled yet"),
    (Id::ManualReleases, "operators have no console yet"),
    (Id::GroupHolds, "there are no group holds yet"),
    (Id::OfflineLost, "no device works offline yet"),
    (Id::OfflinePushed, "no device works offline yet"),
    (Id::TenantMismatch, "requests prove no tenant yet"),
    (Id::CanaryLeaks, "there is no canary yet"),
];

pub mod services;
