//! The report for a pull request: one line, the table, and the survivors folded.
//!
//! Invariant: at most [`CHARACTERS_MAX`] characters; what does not fit is counted. Nothing that rules or scenarios contain is read as
//! Markdown.

use std::fmt::Write;

use super::{Report, words};
use crate::{
    diff_rules::{
        counted,
        markdown::{CHARACTERS_MAX, code, plain},
    },
    report::Verdict,
};

/// For the last section's end.
const RESERVED: usize = 500;

/// The whole report.
pub fn render(report: &Report) -> String {
    let mark = if report.verdict == Verdict::Pass {
        "✅"
    } else {
        "❌"
    };
    let verdict = report.verdict.name();
    let mut out = format!(
        "{mark} **firedrill mutate rules: {verdict}**: {}\n",
        plain(&words::summary(report))
    );
    table(&mut out, report);
    let open = report.survivors().filter(|row| row.explained.is_none());
    let open = open.map(|row| {
        let missed = row.missed.iter().map(words::missed);
        let missed: Vec<String> = missed.collect();
        let change = code(&words::change(row));
        format!(
            "{} {change}: {}",
            plain(&row.place),
            plain(&missed.join("; "))
        )
    });
    section(&mut out, "survivors", &open.collect::<Vec<_>>());
    let explained = report.survivors().filter_map(|row| {
        let (place, change) = (plain(&row.place), code(&words::change(row)));
        Some(format!(
            "{place} {change}: {}",
            plain(row.explained.as_ref()?)
        ))
    });
    section(&mut out, "explained", &explained.collect::<Vec<_>>());
    let untrue = report.untrue.iter();
    let untrue =
        untrue.map(|untrue| format!("{}: {}", plain(&untrue.place), plain(&untrue.message)));
    section(
        &mut out,
        "comments that are not true",
        &untrue.collect::<Vec<_>>(),
    );
    out
}

fn table(out: &mut String, report: &Report) {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let _ = write!(out, "\n{}", line(&words::COLUMNS.map(str::to_owned)));
    out.push_str(&line(&words::COLUMNS.map(|_| "---".to_owned())));
    let mut used = out.chars().count();
    for (at, row) in report.rules.iter().enumerate() {
        let line = line(&words::cells(row).map(|cell| plain(&cell)));
        used += line.chars().count();
        // What is folded gets a third.
        if used > CHARACTERS_MAX * 2 / 3 {
            let left = counted(report.rules.len() - at, "more rule");
            let _ = writeln!(out, "\nand {left}");
            break;
        }
        out.push_str(&line);
    }
}

fn section(out: &mut String, heading: &str, lines: &[String]) {
    let mut used = out.chars().count() + RESERVED;
    if lines.is_empty() || used > CHARACTERS_MAX {
        return;
    }
    let count = lines.len();
    let _ = writeln!(out, "\n<details><summary>{heading} ({count})</summary>\n");
    for (at, line) in lines.iter().enumerate() {
        used += line.chars().count() + 3;
        if used > CHARACTERS_MAX {
            let _ = writeln!(out, "- and {}", counted(count - at, "more line"));
            break;
        }
        let _ = writeln!(out, "- {line}");
    }
    out.push_str("\n</details>\n");
}
