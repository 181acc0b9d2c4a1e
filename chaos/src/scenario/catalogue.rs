//! What the failure catalogue fixes about alerts, invariants and reach counters, as one table each.
//!
//! Invariant: a scenario can name only what stands here. The numbers are the catalogue's promises, not readings of the rules:
//! a rule that is slower than its row fails its scenario.

use super::{MINUTE, SECOND};
use crate::recording::Nanos;

/// One alert, or one branch of an alert that has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertSpec {
    /// Its id.
    pub id: &'static str,
    /// Its branch, where two conditions with different waiting times share an id.
    pub branch: Option<&'static str>,
    /// Its name.
    pub name: &'static str,
    /// How long the condition must hold before it fires.
    pub wait: Nanos,
    /// How far back its condition looks: it may stay true that long after the symptom ended.
    pub window: Nanos,
    /// `keep_firing_for`.
    pub keep: Nanos,
    /// From the symptom to the firing evaluation: crossing of the window + `wait` + 15 s scrape + 15 s evaluation + 15 s slack.
    pub budget: Nanos,
}

const fn row(
    id: &'static str,
    branch: Option<&'static str>,
    name: &'static str,
    [wait, window, keep, budget]: [Nanos; 4],
) -> AlertSpec {
    AlertSpec {
        id,
        branch,
        name,
        wait: wait * SECOND,
        window: window * SECOND,
        keep: keep * SECOND,
        budget: budget * SECOND,
    }
}

/// Failure catalogue §1: seconds of waiting, window, keeping and budget.
pub const ALERTS: &[AlertSpec] = &[
    row(
        "RESV-INV-001",
        None,
        "InventoryOverbookingObserved",
        [0, 60, 0, 60],
    ),
    row(
        "RESV-INV-002",
        None,
        "InventoryAllocationLatencyHigh",
        [600, 300, 0, 675],
    ),
    row(
        "RESV-INV-003",
        Some("latency"),
        "InventorySearchSlow",
        [600, 300, 0, 675],
    ),
    row(
        "RESV-INV-003",
        Some("cache"),
        "InventorySearchSlow",
        [300, 300, 0, 495],
    ),
    row(
        "RESV-INV-004",
        None,
        "InventoryOutboxLagHigh",
        [300, 0, 0, 345],
    ),
    row(
        "RESV-INV-005",
        Some("lag"),
        "InventoryHoldExpirySweeperStalled",
        [0, 0, 0, 45],
    ),
    row(
        "RESV-INV-005",
        Some("age"),
        "InventoryHoldExpirySweeperStalled",
        [0, 0, 0, 45],
    ),
    row(
        "RESV-INV-006",
        None,
        "InventoryLockTimeoutsHigh",
        [0, 1800, 0, 45],
    ),
    row(
        "RESV-INV-007",
        None,
        "InventoryDeadLettersPresent",
        [0, 0, 0, 45],
    ),
    row(
        "RESV-INV-008",
        None,
        "InventoryCalendarHorizonShort",
        [900, 0, 0, 945],
    ),
    row(
        "RESV-INV-009",
        None,
        "InventoryPartitionRotationFailed",
        [0, 0, 0, 45],
    ),
    row(
        "RESV-INV-010",
        None,
        "InventoryOverbookingPolicyNearLimit",
        [900, 0, 0, 945],
    ),
    row(
        "RESV-INV-011",
        None,
        "InventoryReconciliationDrift",
        [0, 0, 0, 45],
    ),
    row(
        "RESV-INV-012",
        None,
        "InventoryManualReleaseSpike",
        [0, 900, 0, 45],
    ),
    row(
        "RESV-INV-013",
        None,
        "InventoryOfflineArbitrationLossHigh",
        [0, 86_400, 0, 45],
    ),
    row(
        "RESV-INV-014",
        None,
        "InventoryInboxBacklogHigh",
        [0, 0, 0, 45],
    ),
    row("RESV-PLT-001", None, "TenantMismatchProbe", [0, 300, 0, 45]),
    row("RESV-PLT-002", None, "DatabaseFailover", [0, 120, 0, 45]),
    row("RESV-PLT-003", None, "ClockDriftHigh", [120, 0, 0, 165]),
    row("RESV-PLT-004", None, "TargetDown", [120, 0, 0, 165]),
    row("RESV-PLT-005", None, "GroupHoldThrashing", [0, 300, 0, 45]),
    row(
        "RESV-PLT-006",
        None,
        "DatabaseIntegrityErrors",
        [0, 300, 0, 45],
    ),
    row("RESV-PLT-007", None, "CrossTenantLeak", [0, 300, 0, 60]),
    row("ORD-001", None, "HighErrorRate", [300, 300, 0, 375]),
    row("ORD-002", None, "OrderLatencyHigh", [300, 300, 0, 360]),
    row("ORD-003", None, "ConnectionPoolNearLimit", [300, 0, 0, 345]),
    row("ORD-004", None, "HighCPUUsage", [300, 300, 0, 555]),
    row("ORD-005", None, "PaymentErrorsByType", [300, 300, 0, 375]),
];

/// After the window and `keep_firing_for` have passed, an alert has one minute more to resolve (failure catalogue §2).
pub const RESOLVE_SLACK: Nanos = MINUTE;

/// The rows of `id`; those of one branch, if it is given.
pub fn alert(id: &str, branch: Option<&str>) -> impl Iterator<Item = &'static AlertSpec> {
    ALERTS
        .iter()
        .filter(move |spec| spec.id == id && (branch.is_none() || spec.branch == branch))
}

/// Invariants of the failure catalogue §3 that have a checker.
pub const INVARIANTS: &[u8] = &[1, 2, 3, 5, 6, 8, 11];

/// What a run can count, for the minima of a scenario.
pub const REACH: &[&str] = &[
    "requests",
    "searches",
    "searches_cached",
    "holds",
    "holds_refused",
    "holds_repeated",
    "confirmed",
    "released",
    "cancelled",
    "expired",
    "unknown_outcomes",
    "strays_refused",
    "commits",
    "published",
    "lock_waits",
    "lock_timeouts",
    "deadlocks",
    "rechecks_kept",
    "rechecks_dropped",
    "rows_skipped",
    "candidates_advanced",
    "commits_in_doubt",
    "promotions",
    "won_by_walk_in",
    "won_by_channel",
    "sweeps",
    "boots",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_budget_is_shorter_than_waiting_scraping_and_evaluating() {
        for spec in ALERTS {
            assert!(spec.budget >= spec.wait + 45 * SECOND, "{spec:?}");
            assert_eq!(
                alert(spec.id, spec.branch).count(),
                if spec.branch.is_none() {
                    alert(spec.id, None).count()
                } else {
                    1
                }
            );
        }
        assert_eq!(alert("RESV-INV-003", None).count(), 2);
        assert_eq!(alert("RESV-INV-003", Some("lag")).count(), 0);
    }
}
