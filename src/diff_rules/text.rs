//! The report for people: one row per alert, scenario and seed that differs, why it matters, what the runs say nothing about, and
//! one line that sums up.
//!
//! Invariant: without colour it is the same text, byte for byte, minus escape sequences.

use std::fmt::Write;

use super::{Effect, Report, words};
use crate::report::text::{Style, write_columns};

/// The whole report.
pub fn render(report: &Report, style: Style) -> String {
    let mut out = String::new();
    if !report.differences.is_empty() {
        table(&mut out, report, style);
    }
    for row in &report.differences {
        if matches!(row.effect, Effect::Breaks | Effect::StillFails) {
            let effect = words::cells(row)[0].clone();
            let effect = style.paint(color(row.effect), &effect);
            let _ = writeln!(out, "\n{effect} {}", words::head(row));
            for reason in words::reasons(row) {
                let _ = writeln!(out, "  ✗ {reason}");
            }
            let _ = writeln!(out, "  see: {}", report.again(&row.scenario, row.seed));
        }
    }
    for (heading, lines) in words::silences(report) {
        let gap = if out.is_empty() { "" } else { "\n" };
        let _ = writeln!(out, "{gap}{heading}:");
        for line in lines {
            let _ = writeln!(out, "  {line}");
        }
    }
    if !out.is_empty() {
        out.push('\n');
    }
    let _ = writeln!(
        out,
        "{}: {}",
        style.verdict(report.verdict),
        report.summary()
    );
    out
}

fn table(out: &mut String, report: &Report, style: Style) {
    let mut table = vec![words::COLUMNS.map(|name| (name.to_owned(), "1")).to_vec()];
    for row in &report.differences {
        let mut line: Vec<(String, &str)> = words::cells(row).map(|cell| (cell, "")).to_vec();
        line[0].1 = color(row.effect);
        table.push(line);
    }
    write_columns(out, &table, style);
    let _ = writeln!(out, "\n{}", words::LEGEND);
}

fn color(effect: Effect) -> &'static str {
    match effect {
        Effect::Ok => "",
        Effect::Fixes => "32",
        Effect::StillFails | Effect::Unknown => "33",
        Effect::Breaks => "1;31",
    }
}
