//! What the forms for people say of a difference, cell by cell; both use the same words.

use std::collections::BTreeSet;

use super::{Change, Effect, Fault, Incident, NoEffect, NotExercised, Report, Row, Which, counted};
use crate::report::Expected;

/// Names of the columns, in the order of [`cells`].
pub const COLUMNS: [&str; 9] = [
    "verdict",
    "alert",
    "scenario",
    "seed",
    "change",
    "OLD",
    "NEW",
    "by",
    "after/budget",
];

/// What the columns mean.
pub const LEGEND: &str = "OLD, NEW: second of the run at which it first fires; by: seconds that NEW is later; after/budget: seconds \
                          from symptom to firing under OLD→NEW, and the most that the scenario allows, or may or never where it \
                          need not or must not fire";

/// One row of the table.
pub fn cells(row: &Row) -> [String; 9] {
    let shown = shown(row);
    let at = |side: Option<f64>| side.map_or("–".to_owned(), seconds);
    let first = |new: bool| {
        let incident = shown?;
        let side = if new { &incident.new } else { &incident.old };
        side.as_ref().map(|side| side.fired_at_s)
    };
    let by = shown.and_then(|incident| incident.fires_later_s);
    let sign = |by: f64| if by > 0.0 { "+" } else { "" };
    [
        verdict(row),
        row.alert.to_string(),
        row.scenario.clone(),
        row.seed.to_string(),
        change(row),
        at(first(false)),
        at(first(true)),
        by.map_or(String::new(), |by| format!("{}{}", sign(by), seconds(by))),
        budget(row),
    ]
}

/// `breaks: late` and the like.
fn verdict(row: &Row) -> String {
    let word = match row.effect {
        Effect::Ok => "ok",
        Effect::Fixes => "fixes",
        Effect::StillFails => "still fails",
        Effect::Unknown => "unknown",
        Effect::Breaks => "breaks",
    };
    match row.fault {
        Some(fault) => format!("{word}: {}", fault.name()),
        None => word.to_owned(),
    }
}

/// The incident that the table shows: one that has the row's fault, one that is new or missing before one that moved, the first.
fn shown(row: &Row) -> Option<&Incident> {
    let telling = row.fault.map(|fault| match fault {
        Fault::Missed => Change::Missing,
        Fault::Late => Change::Later,
        Fault::FalseAlarm => Change::New,
        Fault::Resolution => Change::ResolvesLater,
    });
    row.incidents.iter().min_by_key(|incident| {
        let tells = telling.is_some_and(|change| incident.changes.contains(&change));
        (!tells, incident.changes.first().copied())
    })
}

/// How it differs.
fn change(row: &Row) -> String {
    let Some(incident) = shown(row) else {
        return "judged otherwise".to_owned();
    };
    let mut words = Vec::new();
    let has = |change| incident.changes.contains(&change);
    for (change, word) in [
        (Change::New, "new"),
        (Change::Missing, "missing"),
        (Change::Earlier, "earlier"),
        (Change::Later, "later"),
    ] {
        if has(change) {
            words.push(word.to_owned());
        }
    }
    let whole = |incident: &Incident| {
        let began = |side: &Option<super::Side>| side.as_ref().map(|side| side.fired_at_s);
        began(&incident.old) != began(&incident.new)
    };
    if !words.is_empty() && !whole(incident) {
        words.insert(0, "some series".to_owned());
        words = vec![words.join(" ")];
    }
    if has(Change::ResolvesEarlier) || has(Change::ResolvesLater) {
        words.push(resolves(incident));
    }
    if has(Change::MorePages) || has(Change::FewerPages) {
        let pages = [&incident.old, &incident.new]
            .map(|side| side.as_ref().map_or(0, |side| side.firings.len()));
        words.push(format!("pages {} → {}", pages[0], pages[1]));
    }
    words.extend(incident.labels.iter().map(|label| {
        let [old, new] = [&label.old, &label.new].map(values);
        format!("{} {old} → {new}", label.name)
    }));
    let more = row.incidents.len() - 1;
    if more > 0 {
        words.push(format!("and {}", counted(more, "more incident")));
    }
    words.join(", ")
}

fn resolves(incident: &Incident) -> String {
    let still = |side: &Option<super::Side>| {
        let side = side.as_ref();
        side.is_some_and(|side| side.resolved_at_s.is_none())
    };
    match (
        incident.resolves_later_s,
        still(&incident.old),
        still(&incident.new),
    ) {
        (Some(by), ..) if by > 0.0 => format!("resolves {} s later", seconds(by)),
        (Some(by), ..) => format!("resolves {} s earlier", seconds(-by)),
        (None, false, true) => "does not resolve".to_owned(),
        (None, true, false) => "resolves".to_owned(),
        (None, ..) => "resolves otherwise".to_owned(),
    }
}

fn values(values: &BTreeSet<String>) -> String {
    let shown = values.iter().map(|value| match &**value {
        "" => "(none)",
        value => value,
    });
    shown.collect::<Vec<_>>().join("|")
}

fn budget(row: &Row) -> String {
    let after =
        |seconds: Option<f64>| seconds.map_or("–".to_owned(), |seconds| format!("{seconds:.0}"));
    match (row.expected, row.budget_s) {
        (Expected::Must, Some(budget)) => {
            let [old, new] = [row.old_detect_s, row.new_detect_s].map(after);
            format!("{old}→{new}/{budget:.0}")
        }
        (Expected::Must, None) => "must".to_owned(),
        (Expected::May, _) => "may".to_owned(),
        (Expected::Never, _) => "never".to_owned(),
    }
}

/// To the millisecond, without a fraction that is none.
fn seconds(seconds: f64) -> String {
    let rounded = (seconds * 1_000.0).round() / 1_000.0;
    rounded.to_string()
}

/// What the runs say nothing about, one line each, by heading.
pub fn silences(report: &Report) -> Vec<(&'static str, Vec<String>)> {
    let failed = report.failed.iter().map(|failed| {
        let (under, runs) = (failed.under.name(), counted(failed.runs, "run"));
        let (name, rule, reason) = (&failed.name, &failed.rule, &failed.reason);
        format!("{under} {name} ({rule}), so {runs} not compared: {reason}")
    });
    let reasons = report.runs.iter().filter(|run| run.failed.is_empty());
    let reasons = reasons.flat_map(|run| {
        let (scenario, seed) = (&run.scenario, run.seed);
        let reasons = run.unknown.iter();
        reasons.map(move |reason| format!("{scenario} seed {seed}: {reason}"))
    });
    let all = [
        ("could not be evaluated", failed.collect()),
        ("could not be judged", reasons.collect()),
        (
            "not exercised here: only one side has it, and it never fired in the runs compared",
            report.not_exercised.iter().map(not_exercised).collect(),
        ),
        (
            "written differently, and no incident differs",
            report.no_effect.iter().map(no_effect).collect(),
        ),
    ];
    all.into_iter()
        .filter(|(_, lines): &(_, Vec<String>)| !lines.is_empty())
        .collect()
}

fn not_exercised(alert: &NotExercised) -> String {
    let NotExercised {
        only_in,
        alert,
        name,
        rule,
    } = alert;
    let id = if alert.id == *name && alert.branch.is_none() {
        String::new()
    } else {
        format!("{alert} ")
    };
    format!("only in {} {id}{name} ({rule})", only_in.name())
}

fn no_effect(found: &NoEffect) -> String {
    let NoEffect {
        rule,
        name,
        place,
        fields,
        fired,
    } = found;
    let id = if rule.id == *name {
        String::new()
    } else {
        format!("{rule} ")
    };
    let fired = match fired {
        Some(true) => "fires alike",
        Some(false) => "never fired",
        None => "no alert that reads it differs",
    };
    format!("{id}{name} ({place}): {}; {fired}", fields.join(", "))
}

/// What a row is about, in words.
pub fn head(row: &Row) -> String {
    let names = row.names.iter().filter(|name| **name != row.alert.id);
    let names: String = names.map(|name| format!(" {name}")).collect();
    format!("{}{names} {} seed {}", row.alert, row.scenario, row.seed)
}

/// The judge's sentences about a row; of both sides where that says more.
pub fn reasons(row: &Row) -> Vec<String> {
    let both = row.findings.iter().any(|said| said.under == Which::Old);
    let said = row.findings.iter().map(|said| match both {
        true => format!("{}: {}", said.under.name(), said.message),
        false => said.message.clone(),
    });
    said.collect()
}
