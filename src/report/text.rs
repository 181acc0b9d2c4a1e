//! The report for people: the fault × alert matrix, what did not hold with the command that shows it again, where CPU time
//! went, and one line that sums up.
//!
//! Invariant: without colour it is the same text, byte for byte, minus escape sequences. Scenarios with several seeds share a
//! row that shows the worst of them.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use super::{Alert, Expected, Report, Run, Verdict};

/// How the text may look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Whether escape sequences are written.
    pub color: bool,
}

impl Style {
    /// Text in a colour of the terminal, by its code.
    pub fn paint(self, code: &str, text: &str) -> String {
        if self.color && !code.is_empty() && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// A verdict in its colour.
    pub fn verdict(self, verdict: Verdict) -> String {
        let code = match verdict {
            Verdict::Pass => "32",
            Verdict::Unknown => "33",
            Verdict::Fail => "31",
        };
        self.paint(code, verdict.name())
    }
}

/// The whole report.
pub fn render(report: &Report, style: Style) -> String {
    let mut out = String::new();
    matrix(&mut out, report, style);
    for run in report
        .runs
        .iter()
        .filter(|run| run.verdict != Verdict::Pass)
    {
        findings(&mut out, run, style);
    }
    cpu(&mut out, report);
    summary(&mut out, report, style);
    out
}

/// What a cell of the matrix says, in rising order of weight: the heaviest of several seeds is shown.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Cell {
    Silent,
    Allowed(f64),
    Detected { after_s: f64, budget_s: f64 },
    Late { after_s: f64, budget_s: f64 },
    False(f64),
    Missed,
}

impl Cell {
    fn of(alert: &Alert) -> Cell {
        match (alert.expected, alert.fired_at_s) {
            (Expected::Must, None) => Cell::Missed,
            (Expected::Must, Some(fired)) => match (alert.detect_s, alert.budget_s) {
                (Some(after_s), Some(budget_s)) if after_s > budget_s => {
                    Cell::Late { after_s, budget_s }
                }
                (Some(after_s), Some(budget_s)) => Cell::Detected { after_s, budget_s },
                // It fired, and not for its symptom.
                _ => Cell::False(fired),
            },
            (Expected::May, Some(fired)) => Cell::Allowed(fired),
            (Expected::Never, Some(fired)) => Cell::False(fired),
            (Expected::May | Expected::Never, None) => Cell::Silent,
        }
    }

    fn text(self) -> String {
        match self {
            Cell::Silent => "·".into(),
            Cell::Allowed(fired) => format!("may @{fired:.0}"),
            Cell::Detected { after_s, budget_s } => format!("{after_s:.0}/{budget_s:.0}"),
            Cell::Late { after_s, budget_s } => format!("LATE {after_s:.0}/{budget_s:.0}"),
            Cell::False(fired) => format!("FALSE @{fired:.0}"),
            Cell::Missed => "MISSED".into(),
        }
    }

    fn color(self) -> &'static str {
        match self {
            Cell::Silent => "2",
            Cell::Allowed(_) => "33",
            Cell::Detected { .. } => "32",
            Cell::Late { .. } | Cell::False(_) | Cell::Missed => "1;31",
        }
    }
}

/// One row per scenario in order of first appearance, one column per alert.
fn matrix(out: &mut String, report: &Report, style: Style) {
    let mut rows: Vec<(&str, Vec<&Run>)> = Vec::new();
    for run in &report.runs {
        match rows.iter_mut().find(|(name, _)| *name == run.scenario) {
            Some((_, runs)) => runs.push(run),
            None => rows.push((&run.scenario, vec![run])),
        }
    }
    let mut ids: Vec<&str> = report
        .runs
        .iter()
        .flat_map(|run| &run.alerts)
        .map(|alert| alert.id.as_str())
        .collect();
    ids.sort_unstable();
    ids.dedup();

    let head = |id: &&str| (id.strip_prefix("RESV-").unwrap_or(id).to_owned(), "1");
    let mut table = vec![vec![
        ("scenario".to_owned(), "1"),
        ("verdict".to_owned(), "1"),
    ]];
    table[0].extend(ids.iter().map(head));
    for (name, runs) in &rows {
        let verdict = runs.iter().map(|run| run.verdict).max().unwrap_or_default();
        let name = if runs.len() > 1 {
            format!("{name} ×{}", runs.len())
        } else {
            (*name).to_owned()
        };
        let color = match verdict {
            Verdict::Pass => "32",
            Verdict::Unknown => "33",
            Verdict::Fail => "1;31",
        };
        let mut line = vec![(name, ""), (verdict.name().to_owned(), color)];
        line.extend(ids.iter().map(|id| worst(id, runs)));
        table.push(line);
    }
    write_columns(out, &table, style);
    out.push_str("\nseconds from symptom to firing / budget; @ second of the run at which it fired; may: allowed; FALSE: false alarm; · silent, as it should be\n");
}

/// The heaviest cell of an alert over the seeds of a scenario, with how many are as bad.
fn worst(id: &str, runs: &[&Run]) -> (String, &'static str) {
    let cells = runs
        .iter()
        .filter_map(|run| run.alerts.iter().find(|alert| alert.id == id))
        .map(Cell::of);
    let cells: Vec<Cell> = cells.collect();
    let Some(worst) = cells
        .iter()
        .copied()
        .max_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal))
    else {
        return (String::new(), "");
    };
    let same = cells
        .iter()
        .filter(|cell| std::mem::discriminant(*cell) == std::mem::discriminant(&worst))
        .count();
    let bad = matches!(worst, Cell::Late { .. } | Cell::False(_) | Cell::Missed);
    let times = if bad && runs.len() > 1 {
        format!(" ×{same}")
    } else {
        String::new()
    };
    (worst.text() + &times, worst.color())
}

/// Writes a table, each column as wide as its longest cell; cells have a colour by its code.
pub(crate) fn write_columns(out: &mut String, table: &[Vec<(String, &'static str)>], style: Style) {
    let columns = table.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        table
            .iter()
            .filter_map(|row| row.get(column))
            .map(|(text, _)| text.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or(0))
        .collect();
    for row in table {
        let mut line = String::new();
        let last = row
            .iter()
            .rposition(|(text, _)| !text.is_empty())
            .unwrap_or(0);
        for (column, (text, color)) in row.iter().enumerate().take(last + 1) {
            line.push_str(&style.paint(color, text));
            if column < last {
                let pad = widths[column] - text.chars().count() + 2;
                line.extend(std::iter::repeat_n(' ', pad));
            }
        }
        out.push_str(&line);
        out.push('\n');
    }
}

fn findings(out: &mut String, run: &Run, style: Style) {
    let _ = writeln!(
        out,
        "\n{} {} seed {}",
        style.verdict(run.verdict),
        run.scenario,
        run.seed
    );
    for finding in &run.findings {
        let mark = if finding.verdict == Verdict::Unknown {
            "?"
        } else {
            "✗"
        };
        let mut lines = finding.message.lines();
        let _ = writeln!(
            out,
            "  {mark} {}: {}",
            finding.subject,
            lines.next().unwrap_or_default()
        );
        for line in lines {
            let _ = writeln!(out, "    {line}");
        }
    }
    let _ = writeln!(out, "  replay: {}", run.replay);
}

/// CPU seconds by part over all runs, in the order in which the parts first appear.
fn cpu(out: &mut String, report: &Report) {
    let mut order: Vec<&str> = Vec::new();
    let mut sums: BTreeMap<&str, Duration> = BTreeMap::new();
    for (part, time) in report.runs.iter().flat_map(|run| &run.parts) {
        if !sums.contains_key(part.as_str()) {
            order.push(part);
        }
        *sums.entry(part).or_default() += *time;
    }
    if order.is_empty() {
        return;
    }
    let parts: Vec<String> = order
        .iter()
        .map(|part| format!("{part} {:.2}", sums[part].as_secs_f64()))
        .collect();
    let total: f64 = report.runs.iter().map(|run| run.cpu_seconds).sum();
    let simulated: f64 = report.runs.iter().map(|run| run.sim_seconds).sum();
    let _ = writeln!(
        out,
        "\nCPU {total:.2} s for {}: {}",
        hours(simulated),
        parts.join(", ")
    );
    if let Some(most) = report
        .runs
        .iter()
        .max_by(|a, b| a.cpu_seconds.total_cmp(&b.cpu_seconds))
    {
        let speed = most.sim_seconds / most.cpu_seconds.max(f64::MIN_POSITIVE);
        let _ = writeln!(
            out,
            "CPU {:.2} s the longest run, {} seed {}: {speed:.0} times real time",
            most.cpu_seconds, most.scenario, most.seed
        );
    }
    if let Some(baseline) = &report.baseline {
        let cost = baseline.micros_per_request();
        let _ = writeln!(
            out,
            "CPU {cost:.1} µs a request of a bare HTTP pair over the simulated network, for comparison"
        );
    }
}

/// Virtual time as people say it.
fn hours(seconds: f64) -> String {
    if seconds >= 7_200.0 {
        format!("{:.1} simulated hours", seconds / 3_600.0)
    } else {
        format!("{seconds:.0} simulated seconds")
    }
}

fn summary(out: &mut String, report: &Report, style: Style) {
    let count = |verdict| {
        report
            .runs
            .iter()
            .filter(|run| run.verdict == verdict)
            .count()
    };
    let [passed, failed, unknown] = [Verdict::Pass, Verdict::Fail, Verdict::Unknown].map(count);
    let _ = writeln!(
        out,
        "\n{}: {passed} passed, {failed} failed, {unknown} unknown",
        style.verdict(report.verdict)
    );
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::{
        super::{Finding, tests::run},
        *,
    };
    use crate::baseline::Baseline;

    fn check(runs: Vec<Run>, expected: Expect) {
        let mut report = Report::new(runs);
        report.baseline = Some(Baseline {
            requests: 1_000,
            cpu: Duration::from_micros(8_700),
        });
        let plain = render(&report, Style { color: false });
        expected.assert_eq(&plain);
        let colored = render(&report, Style { color: true });
        let mut stripped = String::new();
        for (index, piece) in colored.split("\x1b[").enumerate() {
            stripped.push_str(if index == 0 {
                piece
            } else {
                piece.split_once('m').expect("an escape ends with m").1
            });
        }
        assert!(colored.contains("\x1b[32m"));
        assert_eq!(stripped, plain, "colour changes nothing but colour");
    }

    fn fired(run: &mut Run, index: usize, at: Option<f64>) {
        let alert = &mut run.alerts[index];
        alert.fired_at_s = at;
        alert.detect_s = at
            .filter(|_| alert.budget_s.is_some())
            .map(|at| at - 3_900.0);
    }

    #[test]
    fn a_passing_report_shows_the_time_to_detect_against_the_budget() {
        check(
            vec![run("cache-down", 1), run("outbox-publisher-down", 1)],
            expect![[r#"
            scenario               verdict  INV-003  INV-004  PLT-004
            cache-down             pass     ·        315/345  ·
            outbox-publisher-down  pass     ·        315/345  ·

            seconds from symptom to firing / budget; @ second of the run at which it fired; may: allowed; FALSE: false alarm; · silent, as it should be

            CPU 2.50 s for 4.0 simulated hours: network 2.00, rules 0.50
            CPU 1.25 s the longest run, outbox-publisher-down seed 1: 5760 times real time
            CPU 8.7 µs a request of a bare HTTP pair over the simulated network, for comparison

            pass: 2 passed, 0 failed, 0 unknown
        "#]],
        );
    }

    #[test]
    fn missed_late_and_false_alarms_stand_out_with_their_replay_command() {
        let (mut missed, mut late, mut wrong) = (run("a", 1), run("b", 2), run("c", 3));
        fired(&mut missed, 1, None);
        fired(&mut late, 1, Some(4_300.0));
        fired(&mut wrong, 0, Some(4_000.0));
        fired(&mut wrong, 2, Some(77.0));
        for run in [&mut missed, &mut late, &mut wrong] {
            run.verdict = Verdict::Fail;
            run.findings = vec![Finding {
                verdict: Verdict::Fail,
                subject: "RESV-INV-004".into(),
                message: "what\nand why".into(),
            }];
        }
        check(
            vec![missed, late, wrong, run("d", 1)],
            expect![[r#"
            scenario  verdict  INV-003    INV-004       PLT-004
            a         fail     ·          MISSED        ·
            b         fail     ·          LATE 400/345  ·
            c         fail     may @4000  315/345       FALSE @77
            d         pass     ·          315/345       ·

            seconds from symptom to firing / budget; @ second of the run at which it fired; may: allowed; FALSE: false alarm; · silent, as it should be

            fail a seed 1
              ✗ RESV-INV-004: what
                and why
              replay: firedrill run a --seed 1

            fail b seed 2
              ✗ RESV-INV-004: what
                and why
              replay: firedrill run b --seed 2

            fail c seed 3
              ✗ RESV-INV-004: what
                and why
              replay: firedrill run c --seed 3

            CPU 5.00 s for 8.0 simulated hours: network 4.00, rules 1.00
            CPU 1.25 s the longest run, d seed 1: 5760 times real time
            CPU 8.7 µs a request of a bare HTTP pair over the simulated network, for comparison

            fail: 1 passed, 3 failed, 0 unknown
        "#]],
        );
    }

    #[test]
    fn seeds_of_one_scenario_share_a_row_with_the_worst() {
        let mut runs: Vec<Run> = (1..=4).map(|seed| run("last-room-race", seed)).collect();
        fired(&mut runs[1], 1, Some(4_230.0));
        fired(&mut runs[2], 2, Some(50.0));
        runs[2].verdict = Verdict::Unknown;
        runs[2].findings = vec![Finding {
            verdict: Verdict::Unknown,
            subject: "invariant 8".into(),
            message: "judged no fact".into(),
        }];
        check(
            runs,
            expect![[r#"
            scenario           verdict  INV-003  INV-004  PLT-004
            last-room-race ×4  unknown  ·        330/345  FALSE @50 ×1

            seconds from symptom to firing / budget; @ second of the run at which it fired; may: allowed; FALSE: false alarm; · silent, as it should be

            unknown last-room-race seed 3
              ? invariant 8: judged no fact
              replay: firedrill run last-room-race --seed 3

            CPU 5.00 s for 8.0 simulated hours: network 4.00, rules 1.00
            CPU 1.25 s the longest run, last-room-race seed 4: 5760 times real time
            CPU 8.7 µs a request of a bare HTTP pair over the simulated network, for comparison

            unknown: 3 passed, 0 failed, 1 unknown
        "#]],
        );
    }
}
