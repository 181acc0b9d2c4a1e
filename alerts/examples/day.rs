//! What a day costs: 3 targets of about 400 series scraped every 15 s, and the shipped rules over it.
//!
//! Run with `cargo run --release -p alerts --example day`.

use std::fmt::Write;

use alerts::rules::{RuleSet, Schedule};
use alerts::scrape::{Ingest, Target};

const BOUNDS: [&str; 15] = [
    "0.005", "0.01", "0.025", "0.05", "0.1", "0.15", "0.2", "0.25", "0.3", "0.5", "0.8", "1", "2",
    "5", "+Inf",
];

/// A body in which about a quarter of the series moves.
fn body(out: &mut String, scrape: u64) {
    out.clear();
    let mut histogram = |name: &str, labels: &str, count: u64| {
        let _ = writeln!(
            out,
            "# HELP {name} Duration of something that takes a while.\n# TYPE {name} histogram"
        );
        for (at, bound) in BOUNDS.iter().enumerate() {
            let within = count * (at as u64 + 1) / 15;
            let _ = writeln!(out, "{name}_bucket{{{labels}le=\"{bound}\"}} {within}");
        }
        let _ = writeln!(
            out,
            "{name}_sum{{{labels}}} {}\n{name}_count{{{labels}}} {count}",
            count as f64 * 0.0173
        );
    };
    for op in ["hold", "confirm", "release", "cancel"] {
        histogram(
            "inventory_allocation_duration_seconds",
            &format!("op=\"{op}\","),
            scrape * 3,
        );
    }
    histogram("inventory_search_duration_seconds", "", scrape * 40);
    for idle in 0..15 {
        histogram(&format!("idle_{idle}_seconds"), "kind=\"some\",", 100);
    }
    for outcome in ["hit", "miss", "stored", "error", "short_circuited"] {
        let _ = writeln!(
            out,
            "inventory_cache_calls_total{{outcome=\"{outcome}\"}} {}",
            scrape * 7
        );
    }
    for outcome in ["acquired", "timeout", "deadlock"] {
        let value = if outcome == "acquired" { scrape * 5 } else { 0 };
        let _ = writeln!(
            out,
            "inventory_allocation_lock_acquisitions_total{{outcome=\"{outcome}\"}} {value}"
        );
    }
    let now = 1_700_000_000 + scrape * 15;
    let _ = writeln!(
        out,
        "inventory_overbooking_actual_total 0\ninventory_outbox_oldest_seconds 0.4"
    );
    let _ = writeln!(
        out,
        "inventory_hold_expiry_oldest_seconds {}\ninventory_db_primary_timeline 1",
        scrape % 9
    );
    let _ = writeln!(
        out,
        "inventory_sweeper_last_success_timestamp_seconds {}",
        now - 4
    );
    let _ = writeln!(
        out,
        "inventory_collector_last_refresh_timestamp_seconds {}",
        now - 2
    );
    let _ = writeln!(out, "db_connection_attempts_total{{status=\"failed\"}} 0");
    for gauge in 0..30 {
        let _ = writeln!(
            out,
            "some_gauge{{route=\"/holds/{{id}}\",number=\"{gauge}\"}} {}",
            if gauge < 3 { scrape } else { 7 }
        );
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the measurement")]
fn main() {
    let start = std::time::Instant::now();
    let mut text = String::new();
    let mut bytes = 0;
    for scrape in 0..5760u64 {
        for _ in 0..3 {
            body(&mut text, scrape);
            bytes += text.len();
        }
    }
    let rendering = start.elapsed();
    let mut ingest = Ingest::new();
    let targets: Vec<Target> = (1..=3)
        .map(|n| Target::new("inventory-service", format!("ledger-{n}:80")))
        .collect();
    let start = std::time::Instant::now();
    for scrape in 0..5760u64 {
        for (target, offset) in targets.iter().zip([2, 7, 11]) {
            body(&mut text, scrape);
            let t_ms = (1_700_000_000 + scrape as i64 * 15 + offset) * 1000;
            if let Err(error) = ingest.scrape(target, t_ms, 0.003, Ok(&text)) {
                panic!("{error}");
            }
        }
    }
    let scraping = start.elapsed().saturating_sub(rendering);
    let store = ingest.into_store();
    println!(
        "{} scrapes of {} bytes, {} series: {:?}, {:.1} MB of samples",
        5760 * 3,
        bytes / 5760 / 3,
        store.len(),
        scraping,
        store.sample_bytes() as f64 / 1e6
    );
    let rules = RuleSet::load(&[concat!(env!("CARGO_MANIFEST_DIR"), "/rules")])
        .unwrap_or_else(|errors| panic!("{}", errors[0]));
    let start = std::time::Instant::now();
    let schedule = Schedule::steady(1_700_000_000_000, 1_700_086_400_000, 15_000);
    match rules.evaluate(&store, &schedule) {
        Ok(timeline) => {
            println!(
                "{} rule evaluations: {:?}, {} alerts active",
                timeline.evaluations,
                start.elapsed(),
                timeline.alerts.len()
            );
        }
        Err(error) => panic!("{error}"),
    }
}
