//! The report for a pull request: one line, the table, and the details folded.
//!
//! Invariant: at most [`CHARACTERS_MAX`] characters, which the forges take as a comment; what does not fit is named, by alert and
//! scenario, or where even that does not fit counted. Nothing that rules or scenarios contain is read as Markdown.

use std::{collections::BTreeMap, fmt::Write};

use super::{Effect, Report, Row, counted, words};
use crate::report::Verdict;

/// Most characters of a report.
pub const CHARACTERS_MAX: usize = 60_000;

/// For the names of what does not fit, and for headings.
const RESERVED: usize = 12_000;

/// The whole report.
pub fn render(report: &Report) -> String {
    let mark = match report.verdict {
        Verdict::Pass => "✅",
        Verdict::Unknown => "❔",
        Verdict::Fail => "❌",
    };
    let verdict = report.verdict.name();
    let mut out = format!(
        "{mark} **firedrill diff rules: {verdict}**: {}\n",
        plain(&report.summary())
    );
    let left_out = if report.differences.is_empty() {
        Vec::new()
    } else {
        table(&mut out, report)
    };
    if !left_out.is_empty() {
        named(&mut out, &left_out);
    }
    details(&mut out, report);
    out
}

/// The table; the rows that did not fit.
fn table<'r>(out: &mut String, report: &'r Report) -> Vec<&'r Row> {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let _ = write!(out, "\n{}", line(&words::COLUMNS.map(str::to_owned)));
    out.push_str(&line(&words::COLUMNS.map(|_| "---".to_owned())));
    // What is folded gets a third.
    let room = (CHARACTERS_MAX - RESERVED) * 2 / 3;
    let mut used = out.chars().count();
    let mut rows = report.differences.iter();
    let mut left_out = Vec::new();
    for row in rows.by_ref() {
        let mut cells = words::cells(row).map(|cell| plain(&cell));
        if row.effect == Effect::Breaks {
            cells[0] = format!("**{}**", cells[0]);
        }
        let line = line(&cells);
        used += line.chars().count();
        if used > room {
            left_out.push(row);
            break;
        }
        out.push_str(&line);
    }
    left_out.extend(rows);
    left_out
}

/// Names what did not fit: alert, scenario, seeds.
fn named(out: &mut String, left_out: &[&Row]) {
    let mut groups: BTreeMap<(Effect, String, &str), usize> = BTreeMap::new();
    for row in left_out {
        let key = (
            row.effect,
            words::cells(row)[0].clone() + " " + &row.alert.to_string(),
            &*row.scenario,
        );
        *groups.entry(key).or_default() += 1;
    }
    let names = groups.iter().rev().map(|((_, what, scenario), seeds)| {
        format!(
            "{} in {} ({})",
            plain(what),
            plain(scenario),
            counted(*seeds, "seed")
        )
    });
    let lead = format!("\n{} did not fit: ", counted(left_out.len(), "difference"));
    let mut names = names.peekable();
    let (mut text, mut first) = (lead, true);
    while let Some(name) = names.peek() {
        if text.chars().count() + name.chars().count() > RESERVED / 2 {
            let _ = write!(
                text,
                " and {} of alert and scenario",
                counted(names.count(), "more pair")
            );
            break;
        }
        if !first {
            text.push_str("; ");
        }
        text.push_str(name);
        first = false;
        names.next();
    }
    let _ = writeln!(out, "{text}.");
}

/// Everything else, folded.
fn details(out: &mut String, report: &Report) {
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    let why = report.differences.iter().filter_map(|row| {
        let reasons = words::reasons(row);
        let again = code(&report.again(&row.scenario, row.seed));
        let head = words::head(row);
        (!reasons.is_empty())
            .then(|| format!("{}: {}; {again}", plain(&head), plain(&reasons.join("; "))))
    });
    sections.push(("why".to_owned(), why.collect()));
    for (heading, lines) in words::silences(report) {
        sections.push((
            heading.to_owned(),
            lines.iter().map(|line| plain(line)).collect(),
        ));
    }
    if !report.differences.is_empty() {
        sections.push(("columns".to_owned(), vec![plain(words::LEGEND)]));
    }
    for (heading, lines) in sections.iter().filter(|(_, lines)| !lines.is_empty()) {
        let title = format!("{heading} ({})", lines.len());
        let title = if heading == "columns" {
            heading
        } else {
            &title
        };
        let _ = writeln!(out, "\n<details><summary>{}</summary>\n", plain(title));
        let mut used = out.chars().count();
        for (at, line) in lines.iter().enumerate() {
            used += line.chars().count() + 3;
            if used > CHARACTERS_MAX - RESERVED / 4 {
                let _ = writeln!(out, "- and {}", counted(lines.len() - at, "more line"));
                break;
            }
            let _ = writeln!(out, "- {line}");
        }
        out.push_str("\n</details>\n");
    }
}

/// Text that is nothing but text, in one line.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '~' | '#' | '@' | '!' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Text as code, which a reader can copy.
pub(crate) fn code(text: &str) -> String {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest + 1);
    let pad = if longest > 0 { " " } else { "" };
    format!(
        "{fence}{pad}{}{pad}{fence}",
        text.replace(char::is_control, " ")
    )
}
