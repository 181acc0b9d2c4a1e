//! The report for people: one row per rule, then each survivor with who should have noticed it, comments that are not true, and one
//! line that sums up.
//!
//! Invariant: without colour it is the same text, byte for byte, minus escape sequences.

use std::fmt::Write;

use super::{Report, words};
use crate::report::text::{Style, write_columns};

/// The whole report.
pub fn render(report: &Report, style: Style) -> String {
    let mut out = String::new();
    let mut table = vec![words::COLUMNS.map(|name| (name.to_owned(), "1")).to_vec()];
    for row in &report.rules {
        let mut line: Vec<(String, &str)> = words::cells(row).map(|cell| (cell, "")).to_vec();
        if row.counts.explained < row.counts.survivors {
            line[5].1 = "33";
        }
        table.push(line);
    }
    write_columns(&mut out, &table, style);
    let _ = writeln!(out, "\n{}", words::LEGEND);
    for row in report.survivors().filter(|row| row.explained.is_none()) {
        let survives = style.paint("33", "survives");
        let _ = writeln!(out, "\n{survives} {} {}", row.place, words::change(row));
        for missed in &row.missed {
            let _ = writeln!(out, "  should have noticed: {}", words::missed(missed));
        }
    }
    let explained = report
        .survivors()
        .filter_map(|row| Some((row, row.explained.as_ref()?)));
    let mut heading = "\nexplained:\n";
    for (row, reason) in explained {
        let _ = writeln!(
            out,
            "{heading}  {} {}: {reason}",
            row.place,
            words::change(row)
        );
        heading = "";
    }
    let mut heading = "\ncomments that are not true:\n";
    for untrue in &report.untrue {
        let _ = writeln!(out, "{heading}  {}: {}", untrue.place, untrue.message);
        heading = "";
    }
    let verdict = style.verdict(report.verdict);
    let _ = writeln!(out, "\n{verdict}: {}", words::summary(report));
    out
}
