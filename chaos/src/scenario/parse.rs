//! TOML → [`Scenario`].
//!
//! Invariant: a file is taken whole or refused whole, with everything that is wrong with it. What cannot come true is refused too:
//! a fault past the end, an alert that both must and may fire, a budget that its own waiting time exceeds.

mod fault;

use std::{path::Path, sync::Arc};

use toml::de::{DeTable, DeValue};

use super::{
    FaultSpec, MINUTE, Must, Scenario, ScenarioError, Workload, catalogue,
    span::{
        At, Errors, Keys, duration, expected, integer, list, name, show_duration, text, within,
    },
};
use crate::recording::Nanos;
use fault::{check_known, clash, fault};

pub(super) fn parse(file: &str, source: &str) -> Result<Scenario, Vec<ScenarioError>> {
    let mut errors = Errors::new(file, source);
    let table = match DeTable::parse(source) {
        Ok(table) => table,
        // After a slip of syntax the rest is guesswork: the first place is the one to mend.
        Err(error) => {
            errors.push(&error.span().unwrap_or(0..0), error.message());
            return Err(errors.finish());
        }
    };
    let keys = Keys::new("the scenario", 0..0, table.get_ref());
    match scenario(&mut errors, keys, file) {
        Some(scenario) if errors.is_empty() => Ok(scenario),
        _ => Err(errors.finish()),
    }
}

fn scenario(errors: &mut Errors, mut keys: Keys, file: &str) -> Option<Scenario> {
    let name = keys.need(errors, "name", name);
    let hypothesis = keys.need(errors, "hypothesis", text);
    let length = keys.need(errors, "duration", duration);
    let hold = keys.read(errors, "hold", duration);
    let heal = keys.read(errors, "heal", duration);
    let liveness = keys.read(errors, "liveness", duration);
    let workload = keys
        .take("workload")
        .and_then(|value| table(errors, "workload", value));
    let workload = match workload {
        Some(keys) => self::workload(errors, keys),
        None => {
            errors.push(&keys.span(), "the scenario needs a table [workload]");
            None
        }
    };
    let faults: Vec<_> = tables(errors, &mut keys, "faults")
        .into_iter()
        .filter_map(|keys| fault(errors, keys, heal.as_ref().map(|at| at.value)))
        .collect();
    let must: Vec<_> = must(errors, &mut keys);
    let may = names(errors, &mut keys, "may");
    let breaks = keys
        .read(errors, "breaks", |value| list(value, integer))
        .map_or(Vec::new(), |at| at.value);
    let reach = reach(errors, &mut keys);
    keys.finish(errors);

    check_name(errors, name.as_ref(), file);
    check_alerts(errors, &must, &may, faults.is_empty());
    let breaks = check_breaks(errors, &breaks);
    let (name, hypothesis, duration) = (name?, hypothesis?, length?);
    let liveness = liveness.map_or(2 * MINUTE, |at| at.value);
    let ends = faults
        .iter()
        .map(|fault| fault.value.until.unwrap_or(fault.value.at))
        .max();
    let healed = heal.as_ref().map_or(ends.unwrap_or(0), |at| at.value);
    check_times(
        errors,
        &faults,
        duration.value,
        healed,
        heal.as_ref(),
        liveness,
    );
    let mut faults: Vec<FaultSpec> = faults.into_iter().map(|fault| fault.value).collect();
    faults.sort_by_key(|fault| fault.at);
    Some(Scenario {
        name: name.value,
        hypothesis: hypothesis.value.to_owned(),
        duration: duration.value,
        hold: hold.map_or(10 * MINUTE, |at| at.value),
        workload: workload?,
        faults,
        heal: healed,
        liveness,
        must: must.into_iter().map(|must| must.value).collect(),
        may: may.into_iter().map(|may| may.value).collect(),
        breaks,
        reach,
    })
}

fn table<'t>(
    errors: &mut Errors,
    what: &str,
    value: &'t toml::Spanned<DeValue<'t>>,
) -> Option<Keys<'t>> {
    match value.get_ref().as_table() {
        Some(table) => Some(Keys::new(format!("`{what}`"), value.span(), table)),
        None => {
            errors.push(
                &value.span(),
                format!("`{what}`: {}", expected("a table", value.get_ref())),
            );
            None
        }
    }
}

fn tables<'t>(errors: &mut Errors, keys: &mut Keys<'t>, key: &'static str) -> Vec<Keys<'t>> {
    let Some(value) = keys.take(key) else {
        return Vec::new();
    };
    let Some(array) = value.get_ref().as_array() else {
        errors.push(
            &value.span(),
            format!("`{key}`: {}", expected("a list of tables", value.get_ref())),
        );
        return Vec::new();
    };
    array
        .iter()
        .filter_map(|item| table(errors, key, item))
        .collect()
}

fn names(errors: &mut Errors, keys: &mut Keys, key: &'static str) -> Vec<At<Arc<str>>> {
    keys.read(errors, key, |value| list(value, name))
        .map_or(Vec::new(), |at| at.value)
}

fn workload(errors: &mut Errors, mut keys: Keys) -> Option<Workload> {
    let kind = keys.need(errors, "kind", text)?;
    let mut number = |errors: &mut Errors, key, high: i64| {
        keys.need(errors, key, within(1, high))
            .map_or(1, |at| at.value as u32)
    };
    let workload = match kind.value {
        "healthy-day" => Workload::HealthyDay {
            requests: number(errors, "requests", 10_000_000),
            holds: number(errors, "holds", 2_000_000),
        },
        "steady" => Workload::Steady {
            per_minute: number(errors, "per_minute", 60_000),
            hold_per_mille: number(errors, "hold_per_mille", 1000) as u16,
            hot_per_mille: keys
                .read(errors, "hot_per_mille", within(0, 1000))
                .map_or(0, |at| at.value as u16),
        },
        "last-room" => Workload::LastRoom {
            races: number(errors, "races", 1000),
        },
        "sweep-vs-confirm" => Workload::SweepVsConfirm {
            per_sweep: number(errors, "per_sweep", 45) as u16,
        },
        "hot-row" => Workload::HotRow {
            per_minute: number(errors, "per_minute", 60_000),
        },
        other => {
            let known = "healthy-day, steady, last-room, sweep-vs-confirm, hot-row";
            errors.push(
                &kind.span,
                format!("unknown workload `{other}`; known: {known}"),
            );
            return None;
        }
    };
    keys.finish(errors);
    Some(workload)
}

fn must(errors: &mut Errors, keys: &mut Keys) -> Vec<At<Must>> {
    let tables = tables(errors, keys, "must");
    let mut found = Vec::new();
    for mut keys in tables {
        let span = keys.span();
        let alert = keys.need(errors, "alert", name);
        let branch = keys.read(errors, "branch", name);
        let budget = keys.read(errors, "budget", duration);
        keys.finish(errors);
        let Some(alert) = alert else { continue };
        let branch_name = branch.as_ref().map(|at| &*at.value);
        let specs: Vec<_> = catalogue::alert(&alert.value, branch_name).collect();
        let Some(default) = specs.iter().map(|spec| spec.budget).max() else {
            unknown_alert(errors, &alert, branch.as_ref());
            continue;
        };
        let wait = specs.iter().map(|spec| spec.wait).min().unwrap_or(0);
        if let Some(budget) = budget.as_ref().filter(|budget| budget.value < wait) {
            let (budget_shown, wait) = (show_duration(budget.value), show_duration(wait));
            errors.push(
                &budget.span,
                format!(
                    "a budget of {budget_shown} cannot be met: {} waits {wait} before it fires",
                    alert.value
                ),
            );
        }
        found.push(At {
            value: Must {
                alert: alert.value,
                branch: branch.map(|at| at.value),
                budget: budget.map_or(default, |at| at.value),
            },
            span,
        });
    }
    found
}

fn unknown_alert(errors: &mut Errors, alert: &At<Arc<str>>, branch: Option<&At<Arc<str>>>) {
    let known = catalogue::alert(&alert.value, None).next().is_some();
    match branch {
        Some(branch) if known => {
            let branches: Vec<_> = catalogue::alert(&alert.value, None)
                .filter_map(|spec| spec.branch)
                .collect();
            let branches = if branches.is_empty() {
                "none".to_owned()
            } else {
                branches.join(", ")
            };
            errors.push(
                &branch.span,
                format!(
                    "unknown branch `{}` of {}; known: {branches}",
                    branch.value, alert.value
                ),
            );
        }
        _ => {
            let mut ids: Vec<_> = catalogue::ALERTS.iter().map(|spec| spec.id).collect();
            ids.dedup();
            errors.push(
                &alert.span,
                format!("unknown alert `{}`; known: {}", alert.value, ids.join(", ")),
            );
        }
    }
}

fn reach(errors: &mut Errors, keys: &mut Keys) -> Vec<(Arc<str>, u64)> {
    let Some(mut keys) = keys
        .take("reach")
        .and_then(|value| table(errors, "reach", value))
    else {
        return Vec::new();
    };
    let mut minima = Vec::new();
    for (counter, span, value) in keys.rest() {
        let counter = At {
            value: Arc::from(counter),
            span,
        };
        let counter = check_known(errors, &counter, "reach counter", catalogue::REACH);
        match (counter, within(1, i64::MAX)(value.get_ref())) {
            (Some(counter), Ok(minimum)) => minima.push((counter, minimum as u64)),
            (_, Err(reason)) => errors.push(&value.span(), format!("a minimum: {reason}")),
            (None, _) => {}
        }
    }
    minima
}

fn check_name(errors: &mut Errors, name: Option<&At<Arc<str>>>, file: &str) {
    let stem = Path::new(file)
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or(file);
    if let Some(name) = name.filter(|name| *name.value != *stem) {
        errors.push(
            &name.span,
            format!("`{}` is not the file's name; expected `{stem}`", name.value),
        );
    }
}

fn check_alerts(errors: &mut Errors, must: &[At<Must>], may: &[At<Arc<str>>], healthy: bool) {
    for (index, one) in must.iter().enumerate() {
        let alert = &one.value.alert;
        if must[..index]
            .iter()
            .any(|other| other.value.alert == *alert && other.value.branch == one.value.branch)
        {
            errors.push(&one.span, format!("{alert} stands twice in `must`"));
        }
        if healthy {
            errors.push(
                &one.span,
                format!("{alert} must fire, but nothing is broken: there is no fault"),
            );
        }
    }
    for (index, one) in may.iter().enumerate() {
        if catalogue::alert(&one.value, None).next().is_none() {
            unknown_alert(errors, one, None);
        }
        if may[..index].iter().any(|other| other.value == one.value) {
            errors.push(&one.span, format!("{} stands twice in `may`", one.value));
        }
        if must.iter().any(|must| must.value.alert == one.value) {
            errors.push(&one.span, format!("{} both must and may fire", one.value));
        }
    }
}

fn check_breaks(errors: &mut Errors, breaks: &[At<i64>]) -> Vec<u8> {
    let mut found: Vec<u8> = Vec::new();
    for one in breaks {
        match u8::try_from(one.value)
            .ok()
            .filter(|number| catalogue::INVARIANTS.contains(number))
        {
            Some(number) if !found.contains(&number) => found.push(number),
            Some(number) => errors.push(
                &one.span,
                format!("invariant {number} stands twice in `breaks`"),
            ),
            None => {
                let known: Vec<String> = catalogue::INVARIANTS.iter().map(u8::to_string).collect();
                errors.push(
                    &one.span,
                    format!(
                        "no checker for invariant {}; known: {}",
                        one.value,
                        known.join(", ")
                    ),
                );
            }
        }
    }
    found
}

fn check_times(
    errors: &mut Errors,
    faults: &[At<FaultSpec>],
    length: Nanos,
    healed: Nanos,
    heal: Option<&At<Nanos>>,
    liveness: Nanos,
) {
    let shown = show_duration(length);
    for fault in faults {
        let end = fault.value.until.unwrap_or(fault.value.at);
        if end > length {
            errors.push(
                &fault.span,
                format!(
                    "the fault ends at {}, after the run of {shown}",
                    show_duration(end)
                ),
            );
        } else if let Some(heal) = heal.filter(|heal| end > heal.value) {
            errors.push(
                &fault.span,
                format!(
                    "the fault ends at {}, after `heal` at {}",
                    show_duration(end),
                    show_duration(heal.value)
                ),
            );
        }
        for other in faults
            .iter()
            .filter(|other| other.span.start < fault.span.start)
        {
            if let Some(host) = clash(&fault.value, &other.value) {
                errors.push(
                    &fault.span,
                    format!("the fault begins while another one has {host} down"),
                );
            }
        }
    }
    if healed.saturating_add(liveness) > length {
        let span = heal.map_or(0..0, |heal| heal.span.clone());
        let (healed, liveness) = (show_duration(healed), show_duration(liveness));
        errors.push(&span, format!("healed at {healed} with a liveness bound of {liveness}: the run of {shown} is over before"));
    }
}
