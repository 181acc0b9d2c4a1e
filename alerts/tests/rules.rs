//! The shipped rules on both sides of their edges, over scrapes that a test writes by hand.
//!
//! Each case bends one metric of a healthy service from `SYMPTOM_S` on. Times are seconds; budgets are those of the failure
//! catalogue.

use std::collections::BTreeMap;

use alerts::rules::{RuleSet, Schedule};
use alerts::scrape::{Ingest, Target};
use alerts::timeline::Timeline;

const BASE_S: i64 = 1_700_000_000;
const SYMPTOM_S: i64 = 3600;

/// One instance: its series by name and labels.
#[derive(Clone, Default)]
struct Instance {
    series: BTreeMap<String, f64>,
    now_s: i64,
}

const BOUNDS: [&str; 14] = [
    "0.005", "0.01", "0.025", "0.05", "0.1", "0.15", "0.2", "0.25", "0.3", "0.5", "0.8", "1", "2",
    "5",
];

impl Instance {
    fn booted() -> Self {
        let mut new = Instance::default();
        new.set("inventory_overbooking_actual_total", 0.0);
        for outcome in ["hit", "miss", "stored", "error", "short_circuited"] {
            new.set(
                &format!("inventory_cache_calls_total{{outcome=\"{outcome}\"}}"),
                0.0,
            );
        }
        for outcome in ["acquired", "timeout", "deadlock"] {
            new.set(&locks(outcome), 0.0);
        }
        for status in ["ok", "failed"] {
            new.set(
                &format!("db_connection_attempts_total{{status=\"{status}\"}}"),
                0.0,
            );
        }
        for op in ["hold", "confirm", "release", "cancel"] {
            new.observe(ALLOCATION, &format!("op=\"{op}\","), 0.0, 0.0);
        }
        new.observe(SEARCH, "", 0.0, 0.0);
        new.set("inventory_db_primary_timeline", 1.0);
        new
    }

    fn set(&mut self, series: &str, value: f64) {
        self.series.insert(series.into(), value);
    }

    fn add(&mut self, series: &str, value: f64) {
        *self.series.entry(series.into()).or_insert(0.0) += value;
    }

    /// `count` observations of `seconds`; `labels` end with a comma.
    fn observe(&mut self, name: &str, labels: &str, seconds: f64, count: f64) {
        for bound in BOUNDS {
            let within: f64 = bound.parse().expect("a number");
            self.add(
                &format!("{name}_bucket{{{labels}le=\"{bound}\"}}"),
                if seconds <= within { count } else { 0.0 },
            );
        }
        self.add(&format!("{name}_bucket{{{labels}le=\"+Inf\"}}"), count);
    }

    /// What a healthy instance does in 15 s.
    fn work(&mut self, now_s: i64) {
        self.now_s = now_s;
        self.observe(ALLOCATION, "op=\"hold\",", 0.02, 20.0);
        self.observe(SEARCH, "", 0.04, 100.0);
        self.add("inventory_cache_calls_total{outcome=\"hit\"}", 80.0);
        self.add("inventory_cache_calls_total{outcome=\"miss\"}", 20.0);
        self.add(&locks("acquired"), 100.0);
        self.add("db_connection_attempts_total{status=\"ok\"}", 1.0);
        self.set("inventory_outbox_oldest_seconds", 1.0);
        self.set("inventory_hold_expiry_oldest_seconds", 4.0);
        self.set(
            "inventory_sweeper_last_success_timestamp_seconds",
            (BASE_S + now_s - 6) as f64,
        );
        self.set(
            "inventory_collector_last_refresh_timestamp_seconds",
            (BASE_S + now_s - 3) as f64,
        );
    }

    fn body(&self) -> String {
        let mut out = String::from("# TYPE inventory_allocation_duration_seconds histogram\n");
        out += "# TYPE inventory_search_duration_seconds histogram\n";
        self.series
            .iter()
            .for_each(|(series, value)| out += &format!("{series} {value}\n"));
        out
    }
}

const ALLOCATION: &str = "inventory_allocation_duration_seconds";
const SEARCH: &str = "inventory_search_duration_seconds";

fn locks(outcome: &str) -> String {
    format!("inventory_allocation_lock_acquisitions_total{{outcome=\"{outcome}\"}}")
}

/// What a case does with an instance at each scrape: gets its number (1 or 2) and the seconds since the symptom began
/// (negative before). False when the scrape fails; an instance without any series is no target.
type Bend = fn(&mut Instance, u32, i64) -> bool;

fn simulate(until_s: i64, bend: Bend) -> Timeline {
    let rules =
        RuleSet::load(&[concat!(env!("CARGO_MANIFEST_DIR"), "/rules")]).unwrap_or_else(|errors| {
            panic!(
                "{}",
                errors
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("\n")
            );
        });
    let mut ingest = Ingest::new();
    let mut instances = [Instance::booted(), Instance::booted()];
    for now_s in (0..=until_s).step_by(15) {
        for (number, instance) in (1..).zip(instances.iter_mut()) {
            let target = Target::new("inventory-service", format!("ledger-{number}:8080"));
            let offset_s = if number == 1 { 2 } else { 9 };
            instance.work(now_s + offset_s);
            let good = bend(instance, number, now_s - SYMPTOM_S);
            if instance.series.is_empty() {
                continue; // not there yet: no target
            }
            let body = instance.body();
            let outcome = if good {
                Ok(&*body)
            } else {
                Err("connection refused")
            };
            let start_ms = (BASE_S + now_s + offset_s) * 1000;
            ingest
                .scrape(&target, start_ms, 0.004, outcome)
                .expect("in order");
        }
    }
    let schedule = Schedule::steady(BASE_S * 1000, (BASE_S + until_s) * 1000, 15_000);
    rules
        .evaluate(ingest.store(), &schedule)
        .expect("evaluates")
}

/// Seconds after the symptom at which each alert first fired, by id and branch.
fn fired(timeline: &Timeline) -> BTreeMap<String, i64> {
    let mut out = BTreeMap::new();
    for alert in timeline.fired() {
        let id = format!(
            "{} {}",
            alert.labels.get("alert_id"),
            alert.labels.get("branch")
        );
        let first = alert.fired_at_or_after(0).expect("fired") / 1000 - BASE_S - SYMPTOM_S;
        let entry = out.entry(id.trim().to_string()).or_insert(first);
        *entry = first.min(*entry);
    }
    out
}

/// Name, seconds after the symptom's beginning, the only alert allowed with its budget in seconds, and the bend.
type Case<'a> = (&'a str, i64, Option<(&'a str, i64)>, Bend);

fn check(rows: &[Case<'_>]) {
    for (name, length_s, fires, bend) in rows {
        let timeline = simulate(SYMPTOM_S + length_s, *bend);
        let got = fired(&timeline);
        match fires {
            None => assert!(got.is_empty(), "{name}: expected silence, fired {got:?}"),
            Some((id, budget_s)) => {
                let others: Vec<_> = got.keys().filter(|key| key != id).collect();
                assert!(others.is_empty(), "{name}: false alarms {others:?}");
                let at = *got
                    .get(*id)
                    .unwrap_or_else(|| panic!("{name}: {id} is missed"));
                assert!(
                    (0..=*budget_s).contains(&at),
                    "{name}: {id} fired at {at} s, budget {budget_s} s"
                );
            }
        }
    }
}

fn up(_: &mut Instance, _: u32, _: i64) -> bool {
    true
}

#[test]
fn a_healthy_service_with_deploys_is_silent() {
    check(&[
        ("steady", 3 * 3600, None, up),
        (
            "an instance restarts and misses one scrape",
            1800,
            None,
            |instance, number, t| {
                if number == 1 && t == 0 {
                    *instance = Instance::booted();
                    return false;
                }
                true
            },
        ),
        (
            "both restart one after the other, gauges still 0 after boot",
            1800,
            None,
            |instance, number, t| {
                if t == i64::from(number) * 60 {
                    *instance = Instance::booted();
                    for gauge in [
                        "inventory_sweeper_last_success_timestamp_seconds",
                        "inventory_db_primary_timeline",
                    ] {
                        instance.set(gauge, 0.0);
                    }
                }
                if t == i64::from(number) * 60 + 15 {
                    instance.set("inventory_db_primary_timeline", 1.0);
                }
                true
            },
        ),
        (
            "both start at once, and once again, with gauges that have read nothing yet",
            1800,
            None,
            |instance, _, t| {
                if t == 0 || t == -SYMPTOM_S {
                    *instance = Instance::booted();
                    for gauge in [
                        "inventory_sweeper_last_success_timestamp_seconds",
                        "inventory_db_primary_timeline",
                    ] {
                        instance.set(gauge, 0.0);
                    }
                }
                if t == 15 || t == 15 - SYMPTOM_S {
                    instance.set("inventory_db_primary_timeline", 1.0);
                }
                true
            },
        ),
        ("nothing to do at night", 3600, None, |instance, _, t| {
            if t >= 0 {
                let (before, now) = (instance.now_s, instance.clone());
                *instance = now;
                instance.now_s = before;
                for (series, value) in &mut instance.series {
                    if series.contains("_bucket") || series.contains("_total") {
                        *value = 5.0;
                    }
                }
                instance.set("inventory_overbooking_actual_total", 0.0);
                instance.set("db_connection_attempts_total{status=\"failed\"}", 0.0);
                instance.set(&locks("timeout"), 0.0);
            }
            true
        }),
    ]);
}

#[test]
fn overbooking_is_seen_however_the_counter_moves() {
    check(&[
        (
            "one pass counts one night",
            600,
            Some(("RESV-INV-001", 50)),
            |instance, number, t| {
                if number == 1 && t == 0 {
                    instance.add("inventory_overbooking_actual_total", 1.0);
                }
                true
            },
        ),
        (
            "born above 0, with its instance",
            600,
            Some(("RESV-INV-001", 50)),
            |instance, number, t| {
                if number == 2 && t < 0 {
                    instance.series.clear();
                }
                if number == 2 && t == 0 {
                    *instance = Instance::booted();
                    instance.work(SYMPTOM_S);
                    instance.set("inventory_overbooking_actual_total", 1.0);
                }
                true
            },
        ),
        (
            "reset to a lower value above 0",
            600,
            Some(("RESV-INV-001", 50)),
            |instance, number, t| {
                if number == 2 {
                    instance.set(
                        "inventory_overbooking_actual_total",
                        if t < 0 { 0.0 } else { 2.0 },
                    );
                }
                true
            },
        ),
    ]);
}

#[test]
fn an_old_count_is_nothing_new() {
    // Counted long ago; then the target is lost for four scrapes (under TargetDown's two minutes) and comes back, then restarts.
    let bend: Bend = |instance, number, t| {
        if number == 1 {
            let count = if (-3000..=600).contains(&t) { 3.0 } else { 0.0 };
            instance.set("inventory_overbooking_actual_total", count);
            instance.set("db_connection_attempts_total{status=\"failed\"}", count);
            return !(0..60).contains(&t);
        }
        true
    };
    let timeline = simulate(SYMPTOM_S + 1200, bend);
    for id in ["RESV-INV-001", "RESV-PLT-002"] {
        let firings = timeline
            .with_label("alert_id", id)
            .flat_map(|alert| alert.firings());
        let firings: Vec<i64> = firings
            .map(|(start, _)| start / 1000 - BASE_S - SYMPTOM_S)
            .collect();
        assert_eq!(firings.len(), 1, "{id}: {firings:?}");
        assert!(firings[0] < -2900, "{id}: {firings:?}");
    }
}

fn slow(instance: &mut Instance, name: &str, labels: &str, seconds: f64) {
    // The healthy observations of this interval become slow ones.
    let count = if name == SEARCH { 100.0 } else { 20.0 };
    instance.observe(name, labels, 0.02, -count);
    instance.observe(name, labels, seconds, count);
}

#[test]
fn allocation_latency_fires_after_ten_minutes_above_200_ms() {
    check(&[
        (
            "just below for twice its time",
            1200,
            None,
            |instance, _, t| {
                if t >= 0 {
                    slow(instance, ALLOCATION, "op=\"hold\",", 0.19);
                }
                true
            },
        ),
        (
            "above for ten minutes less 15 s, window included",
            1800,
            None,
            |instance, _, t| {
                // One slow scrape keeps the 5 min window above for 5 min: the condition holds 585 s in all.
                if (0..=285).contains(&t) {
                    slow(instance, ALLOCATION, "op=\"hold\",", 0.21);
                }
                true
            },
        ),
        (
            "above",
            1200,
            Some(("RESV-INV-002", 675)),
            |instance, _, t| {
                if t >= 0 {
                    slow(instance, ALLOCATION, "op=\"hold\",", 0.21);
                }
                true
            },
        ),
        (
            "two in a hundred",
            1200,
            Some(("RESV-INV-002", 675 + 150)),
            |instance, _, t| {
                if t >= 0 {
                    instance.observe(ALLOCATION, "op=\"confirm\",", 0.9, 0.5);
                }
                true
            },
        ),
        (
            "an instance restarts in the middle",
            1200,
            Some(("RESV-INV-002", 675)),
            |instance, number, t| {
                if number == 1 && t == 300 {
                    *instance = Instance::booted();
                    instance.work(SYMPTOM_S + t);
                }
                if t >= 0 {
                    slow(instance, ALLOCATION, "op=\"hold\",", 0.4);
                }
                true
            },
        ),
    ]);
}

#[test]
fn search_is_slow_by_latency_or_by_its_cache() {
    check(&[
        ("latency just below", 1200, None, |instance, _, t| {
            if t >= 0 {
                slow(instance, SEARCH, "", 0.28);
            }
            true
        }),
        (
            "latency above",
            1200,
            Some(("RESV-INV-003 latency", 675)),
            |instance, _, t| {
                if t >= 0 {
                    slow(instance, SEARCH, "", 0.31);
                }
                true
            },
        ),
        ("48 % of cache calls fail", 1200, None, |instance, _, t| {
            if t >= 0 {
                instance.add("inventory_cache_calls_total{outcome=\"error\"}", 92.0);
            }
            true
        }),
        (
            "all cache calls are short-circuited",
            1200,
            Some(("RESV-INV-003 cache", 495)),
            |instance, _, t| {
                if t >= 0 {
                    instance.add("inventory_cache_calls_total{outcome=\"hit\"}", -80.0);
                    instance.add("inventory_cache_calls_total{outcome=\"miss\"}", -20.0);
                    instance.add(
                        "inventory_cache_calls_total{outcome=\"short_circuited\"}",
                        100.0,
                    );
                }
                true
            },
        ),
        (
            "every search stored, and all cache calls fail: half as many calls",
            1200,
            Some(("RESV-INV-003 cache", 495)),
            |instance, _, t| {
                instance.add("inventory_cache_calls_total{outcome=\"hit\"}", -80.0);
                if t < 0 {
                    instance.add("inventory_cache_calls_total{outcome=\"miss\"}", 80.0);
                    instance.add("inventory_cache_calls_total{outcome=\"stored\"}", 100.0);
                } else {
                    instance.add("inventory_cache_calls_total{outcome=\"miss\"}", -20.0);
                    instance.add("inventory_cache_calls_total{outcome=\"error\"}", 100.0);
                }
                true
            },
        ),
        ("all fail for two minutes", 1200, None, |instance, _, t| {
            if (0..120).contains(&t) {
                instance.add("inventory_cache_calls_total{outcome=\"hit\"}", -80.0);
                instance.add("inventory_cache_calls_total{outcome=\"miss\"}", -20.0);
                instance.add("inventory_cache_calls_total{outcome=\"error\"}", 100.0);
            }
            true
        }),
    ]);
}

#[test]
fn outbox_lag_needs_five_minutes_and_a_fresh_gauge() {
    check(&[
        (
            "just below for twice its time",
            600,
            None,
            |instance, _, t| {
                if t >= 0 {
                    instance.set("inventory_outbox_oldest_seconds", 29.0);
                }
                true
            },
        ),
        (
            "above for five minutes less 15 s",
            900,
            None,
            |instance, _, t| {
                if (0..285).contains(&t) {
                    instance.set("inventory_outbox_oldest_seconds", 31.0);
                }
                true
            },
        ),
        (
            "above",
            600,
            Some(("RESV-INV-004", 345)),
            |instance, _, t| {
                if t >= 0 {
                    instance.set("inventory_outbox_oldest_seconds", 31.0 + t as f64);
                }
                true
            },
        ),
        (
            "one instance frozen above, the other fresh and fine",
            900,
            None,
            |instance, number, t| {
                if number == 1 && t >= 0 {
                    instance.set("inventory_outbox_oldest_seconds", 40.0);
                    instance.set(
                        "inventory_collector_last_refresh_timestamp_seconds",
                        (BASE_S + SYMPTOM_S) as f64,
                    );
                }
                true
            },
        ),
        (
            "one instance gone for 90 s while the other sees the lag",
            600,
            Some(("RESV-INV-004", 345)),
            |instance, number, t| {
                if t >= 0 {
                    instance.set("inventory_outbox_oldest_seconds", 31.0 + t as f64);
                }
                !(number == 1 && (60..150).contains(&t))
            },
        ),
    ]);
}

#[test]
fn the_sweeper_is_stalled_by_lag_or_by_age() {
    check(&[
        ("lag just below", 600, None, |instance, _, t| {
            if t >= 0 {
                instance.set("inventory_hold_expiry_oldest_seconds", 29.0);
            }
            true
        }),
        (
            "lag above",
            600,
            Some(("RESV-INV-005 lag", 45)),
            |instance, _, t| {
                if t >= 0 {
                    instance.set("inventory_hold_expiry_oldest_seconds", 31.0);
                }
                true
            },
        ),
        ("age just below", 600, None, |instance, _, t| {
            if t >= 0 {
                let now_s = instance.now_s;
                instance.set(
                    "inventory_sweeper_last_success_timestamp_seconds",
                    (BASE_S + now_s - 80) as f64,
                );
            }
            true
        }),
        // The symptom begins 90 s after the last success.
        (
            "age above",
            600,
            Some(("RESV-INV-005 age", 45)),
            |instance, _, t| {
                if t >= -90 {
                    instance.set(
                        "inventory_sweeper_last_success_timestamp_seconds",
                        (BASE_S + SYMPTOM_S - 90) as f64,
                    );
                }
                true
            },
        ),
        (
            "age above while one instance is frozen longer",
            600,
            None,
            |instance, number, t| {
                if number == 1 && t >= 0 {
                    instance.set(
                        "inventory_sweeper_last_success_timestamp_seconds",
                        (BASE_S + SYMPTOM_S) as f64,
                    );
                }
                true
            },
        ),
    ]);
}

#[test]
fn lock_timeouts_are_a_share_of_thirty_minutes() {
    check(&[
        ("1.9 %", 3600, None, |instance, _, t| {
            if t >= 0 {
                instance.add(&locks("timeout"), 1.9);
                instance.add(&locks("acquired"), -1.9);
            }
            true
        }),
        ("one of a handful", 3600, None, |instance, number, t| {
            // Both instances together take 40 locks in 30 minutes, and one more is given up.
            instance.add(&locks("acquired"), -100.0);
            if t % 90 == 0 {
                instance.add(&locks("acquired"), 1.0);
            }
            if number == 1 && t == 0 {
                instance.add(&locks("timeout"), 1.0);
            }
            true
        }),
        // A burst that is 2.1 % of what 30 minutes hold, at once.
        (
            "2.1 % at once",
            600,
            Some(("RESV-INV-006", 45)),
            |instance, number, t| {
                if number == 1 && t == 0 {
                    instance.add(&locks("timeout"), 2.0 * 120.0 * 100.0 * 0.0215);
                }
                true
            },
        ),
        (
            "the series of time-outs is born above 0",
            600,
            Some(("RESV-INV-006", 45)),
            |instance, number, t| {
                instance.series.remove(&locks("timeout"));
                if number == 2 && t >= 0 {
                    instance.set(&locks("timeout"), 600.0);
                }
                true
            },
        ),
        (
            "an instance restarts after time-outs that were few",
            3600,
            None,
            |instance, number, t| {
                if number == 1 && t == -600 {
                    instance.add(&locks("timeout"), 200.0);
                }
                if number == 1 && t == 0 {
                    *instance = Instance::booted();
                }
                true
            },
        ),
    ]);
}

#[test]
fn a_failover_is_seen_by_failed_connections_or_by_the_timeline() {
    check(&[
        (
            "one attempt fails",
            600,
            Some(("RESV-PLT-002", 45)),
            |instance, number, t| {
                if number == 2 && t == 0 {
                    instance.add("db_connection_attempts_total{status=\"failed\"}", 1.0);
                }
                true
            },
        ),
        (
            "the counter of failures is born above 0",
            600,
            Some(("RESV-PLT-002", 45)),
            |instance, number, t| {
                instance
                    .series
                    .remove("db_connection_attempts_total{status=\"failed\"}");
                if number == 2 && t >= 0 {
                    instance.set("db_connection_attempts_total{status=\"failed\"}", 4.0);
                }
                true
            },
        ),
        (
            "a replica is promoted",
            600,
            Some(("RESV-PLT-002", 45)),
            |instance, _, t| {
                instance.set(
                    "inventory_db_primary_timeline",
                    if t >= 0 { 2.0 } else { 1.0 },
                );
                true
            },
        ),
        (
            "a replica is promoted while the target is not scraped",
            600,
            Some(("RESV-PLT-002", 120)),
            |instance, _, t| {
                instance.set(
                    "inventory_db_primary_timeline",
                    if t >= 0 { 2.0 } else { 1.0 },
                );
                !(0..75).contains(&t)
            },
        ),
    ]);
}

#[test]
fn a_target_is_down_when_nothing_is_known_of_it() {
    check(&[
        (
            "down for two minutes less 15 s",
            600,
            None,
            |_, number, t| !(number == 1 && (0..105).contains(&t)),
        ),
        ("down", 600, Some(("RESV-PLT-004", 165)), |_, number, t| {
            !(number == 1 && t >= 0)
        }),
        (
            "answers without the service's metrics",
            600,
            Some(("RESV-PLT-004", 165)),
            |instance, number, t| {
                if number == 1 && t >= 0 {
                    instance.series.clear();
                    instance.set("process_start_time_seconds", 1.0);
                }
                true
            },
        ),
    ]);
}

#[test]
fn a_job_without_any_target_is_down() {
    let rules = RuleSet::load(&[concat!(env!("CARGO_MANIFEST_DIR"), "/rules")]).expect("loads");
    let mut ingest = Ingest::new();
    let other = Target::new("prometheus", "localhost:9090");
    for t in (0..600).step_by(15) {
        ingest
            .scrape(&other, t * 1000, 0.001, Ok("x 1\n"))
            .expect("in order");
    }
    let timeline = rules
        .evaluate(ingest.store(), &Schedule::steady(0, 600_000, 15_000))
        .expect("evaluates");
    let fired: Vec<_> = timeline
        .fired()
        .map(|alert| (alert.labels.get("alert_id"), alert.fired_at_or_after(0)))
        .collect();
    assert_eq!(fired, [("RESV-PLT-004", Some(120_000))]);
}

#[test]
fn an_alert_resolves_after_healing_and_says_what_it_saw() {
    let timeline = simulate(SYMPTOM_S + 1200, |instance, _, t| {
        if (0..420).contains(&t) {
            instance.set("inventory_outbox_oldest_seconds", 45.0);
        }
        true
    });
    let alert = timeline
        .with_label("alert_id", "RESV-INV-004")
        .next()
        .expect("was active");
    let (fired, resolved) = alert.firings()[0];
    assert_eq!(
        alert.annotations["description"],
        "The oldest unpublished outbox row is 45s old."
    );
    let resolved = resolved.expect("resolves") / 1000 - BASE_S - SYMPTOM_S;
    assert!((420..=480).contains(&resolved), "{resolved}");
    assert_eq!(
        timeline.first_firing("alert_id", "RESV-INV-004", 0),
        Some(fired)
    );
    assert_eq!(
        timeline.last_resolved("alert_id", "RESV-INV-004", 0),
        alert.resolved_after(fired)
    );
}
