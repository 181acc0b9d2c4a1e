//! One `[[faults]]` table → [`FaultSpec`].
//!
//! Invariant: hosts, tables, statements and roles are known ones; what lasts has an end or says that it has none.

use std::sync::Arc;

use super::super::{
    FaultSpec, SECOND,
    faults::{FaultKind, HOSTS, LEDGERS, Principal, STATEMENTS, SpecKind, TABLES},
    span::{At, Errors, Keys, duration, list, name, show_duration, signed_duration, text, within},
};
use super::table;
use crate::recording::Nanos;

/// One `[[faults]]` table.
pub(super) fn fault(
    errors: &mut Errors,
    mut keys: Keys,
    heal: Option<Nanos>,
) -> Option<At<FaultSpec>> {
    let span = keys.span();
    let at = keys.need(errors, "at", duration);
    let lasts = keys.read(errors, "for", |value| match value.as_str() {
        Some("ever") => Ok(None),
        _ => duration(value).map(Some),
    });
    let kind_at = keys.need(errors, "kind", text)?;
    let Some(kind) = kind(errors, &mut keys, &kind_at) else {
        if STEADY.contains(&kind_at.value) || MOMENTARY.contains(&kind_at.value) {
            keys.finish(errors);
        }
        return None;
    };
    keys.finish(errors);
    let at = at?.value;
    let repairs = matches!(&kind, SpecKind::Sql { repair, .. } if !repair.is_empty());
    let momentary = MOMENTARY.contains(&kind_at.value) || (kind_at.value == "sql" && !repairs);
    let until = match (momentary, lasts) {
        (true, Some(lasts)) => {
            errors.push(
                &lasts.span,
                format!("`{}` is momentary and takes no `for`", kind_at.value),
            );
            None
        }
        (true, None) => None,
        (false, Some(At { value: None, .. })) => None,
        (
            false,
            Some(At {
                value: Some(length),
                ..
            }),
        ) => Some(at.saturating_add(length)),
        (false, None) if heal.is_some() => heal,
        (false, None) => {
            let reason = format!(
                "`{}` needs `for = \"<duration>\"` or `for = \"ever\"`, or the scenario `heal`",
                kind_at.value
            );
            errors.push(&span, reason);
            return None;
        }
    };
    Some(At {
        value: FaultSpec { at, until, kind },
        span,
    })
}

/// Faults that last.
const STEADY: &[&str] = &[
    "crash",
    "kill",
    "stop",
    "stall",
    "partition",
    "partition-one-way",
    "loss",
    "latency",
    "broker-refuses",
    "scheduler-stopped",
    "sql",
    "hold-lock",
    "slow-statement",
    "slow-insert",
    "release",
    "clock-offset",
    "clock-drift",
];
/// Faults that are over as soon as they have happened.
const MOMENTARY: &[&str] = &["boot", "deploy", "cancel-surplus"];

fn kind(errors: &mut Errors, keys: &mut Keys, kind: &At<&str>) -> Option<SpecKind> {
    let plain = match kind.value {
        "crash" => FaultKind::Crash {
            host: host(errors, keys, "host")?,
        },
        "kill" => FaultKind::Kill {
            host: host(errors, keys, "host")?,
        },
        "stop" => FaultKind::Stop {
            host: host(errors, keys, "host")?,
        },
        "boot" => FaultKind::Boot {
            host: host(errors, keys, "host")?,
        },
        "stall" => FaultKind::Stall {
            host: host(errors, keys, "host")?,
        },
        "partition" => {
            let (a, b) = pair(errors, keys, "between")?;
            FaultKind::Partition { a, b }
        }
        "partition-one-way" => {
            let from = host(errors, keys, "from");
            let (from, to) = (from?, host(errors, keys, "to")?);
            FaultKind::PartitionOneWay { from, to }
        }
        "loss" => {
            let per_mille = keys.need(errors, "per_mille", within(1, 1000));
            let (a, b) = pair(errors, keys, "between")?;
            FaultKind::Loss {
                a,
                b,
                per_mille: per_mille?.value as u16,
            }
        }
        "latency" => {
            let by = keys.need(errors, "by", duration);
            let (a, b) = pair(errors, keys, "between")?;
            FaultKind::Latency {
                a,
                b,
                by: by?.value,
            }
        }
        "broker-refuses" => FaultKind::BrokerRefuses,
        "scheduler-stopped" => FaultKind::SchedulerStopped,
        "slow-statement" => {
            let by = keys.need(errors, "by", duration);
            let statement = one_of(errors, keys, "statement", "statement", STATEMENTS)?;
            FaultKind::SlowStatement {
                statement,
                by: by?.value,
            }
        }
        "slow-insert" => {
            let by = keys.need(errors, "by", duration);
            let table = one_of(errors, keys, "table", "table", TABLES)?;
            FaultKind::SlowInsert {
                table,
                by: by?.value,
            }
        }
        "release" => FaultKind::Release {
            pause: pause(errors, keys),
            overrides: overrides(errors, keys)?,
        },
        "deploy" => FaultKind::Deploy {
            pause: pause(errors, keys),
        },
        "clock-offset" => {
            let by = keys.need(errors, "by", signed_duration);
            let host = host(errors, keys, "host")?;
            FaultKind::ClockOffset {
                host,
                by: by?.value,
            }
        }
        "clock-drift" => {
            let ppm = keys.need(errors, "ppm", within(-100_000, 100_000));
            let host = host(errors, keys, "host")?;
            FaultKind::ClockDrift {
                host,
                ppm: ppm?.value as i32,
            }
        }
        "cancel-surplus" => FaultKind::CancelSurplus,
        "sql" => return sql(errors, keys),
        "hold-lock" => return hold_lock(errors, keys),
        other => {
            let known = [STEADY, MOMENTARY].concat().join(", ");
            errors.push(
                &kind.span,
                format!("unknown fault `{other}`; known: {known}"),
            );
            return None;
        }
    };
    Some(SpecKind::Plain(plain))
}

fn one_of(
    errors: &mut Errors,
    keys: &mut Keys,
    key: &'static str,
    what: &str,
    known: &[&str],
) -> Option<Arc<str>> {
    let found = keys.need(errors, key, name)?;
    check_known(errors, &found, what, known)
}

pub(super) fn check_known(
    errors: &mut Errors,
    found: &At<Arc<str>>,
    what: &str,
    known: &[&str],
) -> Option<Arc<str>> {
    if known.contains(&&*found.value) {
        return Some(found.value.clone());
    }
    let known = known.join(", ");
    errors.push(
        &found.span,
        format!("unknown {what} `{}`; known: {known}", found.value),
    );
    None
}

fn host(errors: &mut Errors, keys: &mut Keys, key: &'static str) -> Option<Arc<str>> {
    one_of(errors, keys, key, "host", HOSTS)
}

/// Two different hosts.
fn pair(errors: &mut Errors, keys: &mut Keys, key: &'static str) -> Option<(Arc<str>, Arc<str>)> {
    let found = keys.need(errors, key, |value| list(value, name))?;
    let hosts: Vec<_> = found
        .value
        .iter()
        .filter_map(|host| check_known(errors, host, "host", HOSTS))
        .collect();
    match <[Arc<str>; 2]>::try_from(hosts) {
        Ok([a, b]) if a != b => Some((a, b)),
        Ok(_) => {
            errors.push(&found.span, format!("`{key}` names the same host twice"));
            None
        }
        Err(_) if found.value.len() != 2 => {
            errors.push(
                &found.span,
                format!("`{key}` needs two hosts, found {}", found.value.len()),
            );
            None
        }
        Err(_) => None,
    }
}

fn pause(errors: &mut Errors, keys: &mut Keys) -> Nanos {
    keys.read(errors, "pause", duration)
        .map_or(20 * SECOND, |at| at.value)
}

/// `statements = { hold_reserve_nights = "UPDATE …" }`
fn overrides(errors: &mut Errors, keys: &mut Keys) -> Option<Vec<(Arc<str>, Arc<str>)>> {
    let Some(value) = keys.take("statements") else {
        errors.push(
            &keys.span(),
            "`release` needs a table `statements`: file stem of a statement = its new text",
        );
        return None;
    };
    let mut changed = Vec::new();
    for (stem, span, sql) in table(errors, "statements", value)?.rest() {
        let stem = At {
            value: Arc::from(stem),
            span,
        };
        let stem = check_known(errors, &stem, "statement", STATEMENTS);
        match (stem, name(sql.get_ref())) {
            (Some(stem), Ok(sql)) => changed.push((stem, sql)),
            (_, Err(reason)) => errors.push(&sql.span(), reason),
            (None, _) => {}
        }
    }
    if changed.is_empty() {
        errors.push(&value.span(), "`statements` changes nothing");
    }
    Some(changed)
}

fn sql(errors: &mut Errors, keys: &mut Keys) -> Option<SpecKind> {
    let logins = Principal::ALL.map(Principal::login);
    let role = one_of(errors, keys, "role", "role", &logins);
    let tenant = keys
        .read(errors, "tenant", within(0, 2))
        .map(|at| at.value as u8);
    let mut statements = |errors: &mut Errors, key| {
        let found = keys.read(errors, key, |value| list(value, text));
        found.map(|at| {
            at.value
                .into_iter()
                .map(|sql| sql.value.to_owned())
                .collect::<Vec<_>>()
        })
    };
    let run = statements(errors, "sql").unwrap_or_default();
    let repair = statements(errors, "repair").unwrap_or_default();
    if run.is_empty() {
        errors.push(&keys.span(), "`sql` needs a list `sql` of statements");
        return None;
    }
    let role = role?;
    let role = Principal::ALL
        .into_iter()
        .find(|principal| principal.login() == &*role)?;
    Some(SpecKind::Sql {
        role,
        tenant,
        sql: run,
        repair,
    })
}

fn hold_lock(errors: &mut Errors, keys: &mut Keys) -> Option<SpecKind> {
    let hold = keys.need(errors, "hold", duration);
    let every = keys.need(errors, "every", duration);
    let (hold, every) = (hold?, every?);
    if hold.value == 0 || every.value < hold.value {
        let reason = format!(
            "`every` ({}) must be at least `hold` ({}), and `hold` more than 0",
            show_duration(every.value),
            show_duration(hold.value)
        );
        errors.push(&every.span, reason);
        return None;
    }
    Some(SpecKind::HoldLock {
        hold: hold.value,
        every: every.value,
    })
}

/// The host that two faults want down at the same time.
pub(super) fn clash(one: &FaultSpec, other: &FaultSpec) -> Option<Arc<str>> {
    let down = |fault: &FaultSpec| match &fault.kind {
        SpecKind::Plain(
            FaultKind::Crash { host } | FaultKind::Kill { host } | FaultKind::Stop { host },
        ) => Some((host.clone(), fault.at..fault.until.unwrap_or(Nanos::MAX))),
        SpecKind::Plain(FaultKind::Deploy { pause }) => {
            Some((LEDGERS[0].into(), fault.at..fault.at + pause))
        }
        _ => None,
    };
    let ((host, span), (other_host, other_span)) = (down(one)?, down(other)?);
    let overlap = span.start < other_span.end && other_span.start < span.end;
    (host == other_host && overlap).then_some(host)
}
