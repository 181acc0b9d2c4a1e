//! Plays one interleaving on an arm and writes down what happened, in the same words for both arms.
//!
//! The rules, which are those of PostgreSQL's own isolation tester where it has one:
//! - A step runs until it ends or waits for another session of the spec. Then what it woke is collected until everything under
//!   way has ended or waits again; a cycle of waits is not an end, the server must break it first.
//! - A session whose step waits takes no other step but `await`.
//! - Two waits begin at least 250 ms apart, longer than `deadlock_timeout`: hence who closes a cycle is its victim.
//! - At the end open transactions are rolled back in the order of the sessions, and the rows that are new are written down.
//!
//! Left out: what depends on who runs first after two waited for the same end. It is not defined by PostgreSQL either.

use std::{collections::BTreeSet, time::Duration};

use ledger::ports::{Rows, Value};

use crate::{
    arm::{APP, Arm, Ended, OWN, Outcome, Request, WORKER},
    spec::{Action, Permutation, Spec},
    statements::Statements,
    world,
};

/// What a permutation did, one line per event. `before` keeps the rows to begin with, which are those of each permutation of a spec.
pub fn play(
    arm: &mut dyn Arm,
    statements: &Statements,
    spec: &Spec,
    permutation: &Permutation,
    before: &mut Option<Vec<String>>,
) -> Result<Vec<String>, String> {
    arm.reset()?;
    let mut stage = Stage {
        arm,
        statements,
        spec,
        under_way: Vec::new(),
        fresh: false,
        lines: Vec::new(),
    };
    stage.set_up()?;
    let before = match before {
        Some(known) => known,
        None => before.insert(stage.dump()?),
    };
    for (_, role) in &spec.sessions {
        let session = stage.arm.open(*role, spec.settings)?;
        if session != stage.under_way.len() + OWN {
            return Err("sessions are not numbered in order".to_owned());
        }
        stage.under_way.push(None);
    }
    for &step in &permutation.steps {
        stage.step(step)?;
    }
    stage.close()?;
    let after = stage.dump()?;
    let mut lines = stage.lines;
    let known: BTreeSet<&String> = before.iter().collect();
    lines.extend(after.iter().filter(|row| !known.contains(row)).cloned());
    Ok(lines)
}

/// Between the beginnings of two waits.
pub const APART: Duration = Duration::from_millis(250);

struct Stage<'a> {
    arm: &'a mut dyn Arm,
    statements: &'a Statements,
    spec: &'a Spec,
    /// Per session of the spec: the step that has not ended.
    under_way: Vec<Option<usize>>,
    /// A wait may have begun since time last passed.
    fresh: bool,
    lines: Vec<String>,
}

impl Stage<'_> {
    fn own(&mut self, session: usize, request: Request) -> Result<Rows, String> {
        let text = format!("{request:?}");
        self.arm.submit(session, request)?;
        match self.arm.settle()?.pop() {
            Some((_, Ok(rows))) => Ok(rows),
            Some((_, Err(state))) => Err(format!("{state}: {text}")),
            None => Err(format!("waits: {text}")),
        }
    }

    fn set_up(&mut self) -> Result<(), String> {
        // When the migrations ran is no part of a spec.
        self.own(
            WORKER,
            Request::Sql("UPDATE job_runs SET succeeded_at = now()".to_owned()),
        )?;
        let mut tenant = "T".to_owned();
        let mut open: Option<String> = None;
        for line in &self.spec.setup {
            if let Some(job) = line.strip_prefix("job ") {
                let sql = format!(
                    "UPDATE job_runs SET succeeded_at = '2001-01-01 00:00:00+00' WHERE job = '{job}'"
                );
                self.own(WORKER, Request::Sql(sql))?;
                continue;
            }
            let Some(sql) = world::insert(line, &mut tenant)? else {
                continue;
            };
            if open.as_ref() != Some(&tenant) {
                if open.is_some() {
                    self.own(APP, Request::Commit)?;
                }
                self.own(APP, Request::Begin(Some(world::uuid(&tenant))))?;
                open = Some(tenant.clone());
            }
            self.own(APP, Request::Sql(sql))?;
        }
        if open.is_some() {
            self.own(APP, Request::Commit)?;
        }
        Ok(())
    }

    /// Every row of every table, as a line each.
    fn dump(&mut self) -> Result<Vec<String>, String> {
        let mut lines = Vec::new();
        let tenants: BTreeSet<&str> = self
            .spec
            .setup
            .iter()
            .filter_map(|line| line.strip_prefix("tenant "))
            .chain(
                self.spec
                    .steps
                    .iter()
                    .filter_map(|step| match &step.action {
                        Action::Begin(tenant) => tenant.as_deref(),
                        _ => None,
                    }),
            )
            .chain(["T"])
            .collect();
        for tenant in tenants {
            self.own(APP, Request::Begin(Some(world::uuid(tenant))))?;
            for (table, columns, key) in OF_A_TENANT {
                self.dump_table(APP, table, columns, key, &mut lines)?;
            }
            self.own(APP, Request::Commit)?;
        }
        for (table, columns, key) in OF_ALL {
            self.dump_table(WORKER, table, columns, key, &mut lines)?;
        }
        Ok(lines)
    }

    fn dump_table(
        &mut self,
        session: usize,
        table: &str,
        columns: &str,
        key: &str,
        lines: &mut Vec<String>,
    ) -> Result<(), String> {
        let sql = format!("SELECT {columns} FROM {table} ORDER BY {key}");
        let now = self.arm.now_us();
        for row in self.own(session, Request::Sql(sql))?.rows {
            lines.push(format!("{table}: {}", print_row(&row, now)));
        }
        Ok(())
    }

    fn step(&mut self, index: usize) -> Result<(), String> {
        let step = &self.spec.steps[index];
        let name = step.name.clone();
        if let Action::Pause(time) = step.action {
            let ended = self.arm.pause(time)?;
            self.record(&name, None, ended);
            return Ok(());
        }
        let waits = self.under_way[step.session].is_some();
        if let Action::Await = step.action {
            if waits {
                let ended = self.arm.finish(step.session + OWN)?;
                self.record(&name, None, ended);
            } else {
                self.lines.push(format!("{name}: nothing waits"));
            }
            return Ok(());
        }
        if waits {
            self.lines
                .push(format!("{name}: not run, the session waits"));
            return Ok(());
        }
        let request = self.request(&step.action)?;
        let can_wait = matches!(request, Request::Run(..) | Request::Sql(_));
        if can_wait && self.fresh && self.under_way.iter().any(Option::is_some) {
            self.fresh = false;
            let ended = self.arm.pause(APART)?;
            self.record("meanwhile", None, ended);
        }
        self.under_way[step.session] = Some(index);
        self.arm.submit(step.session + OWN, request)?;
        let ended = self.arm.settle()?;
        self.record(&name, Some(step.session), ended);
        Ok(())
    }

    fn request(&self, action: &Action) -> Result<Request, String> {
        Ok(match action {
            Action::Begin(tenant) => Request::Begin(tenant.as_deref().map(world::uuid)),
            Action::Sql(sql) => Request::Sql(world::spell(sql)?),
            Action::Commit => Request::Commit,
            Action::Rollback => Request::Rollback,
            Action::Await | Action::Pause(_) => return Err("this is no request".to_owned()),
            Action::Run { statement, args } => {
                let known = self
                    .statements
                    .get(statement)
                    .ok_or_else(|| format!("no statement file `{statement}.sql`"))?;
                if args.len() != known.types.len() {
                    return Err(format!(
                        "{statement} takes {} parameters, not {}",
                        known.types.len(),
                        args.len()
                    ));
                }
                let params = args
                    .iter()
                    .zip(&known.types)
                    .map(|(word, sql_type)| world::parameter(word, sql_type))
                    .collect::<Result<_, _>>()?;
                Request::Run(known.statement.clone(), params)
            }
        })
    }

    /// Writes down what ended: the step's own end first, then those it woke, in the order of sessions.
    fn record(&mut self, name: &str, own: Option<usize>, mut ended: Ended) {
        ended.sort_by_key(|(session, _)| (Some(session - OWN) != own, *session));
        // Only a step that just succeeds by itself releases nothing that others wait for.
        let releases = match (own, &ended[..]) {
            (Some(own), [(session, Ok(_))]) if session - OWN == own => self.under_way[own]
                .is_none_or(|step| {
                    matches!(
                        self.spec.steps[step].action,
                        Action::Commit | Action::Rollback
                    )
                }),
            _ => true,
        };
        self.fresh |= releases;
        if let Some(own) = own
            && ended
                .first()
                .is_none_or(|(session, _)| session - OWN != own)
        {
            self.lines.push(format!("{name}: waits"));
        }
        for (session, outcome) in ended {
            let Some(step) = self.under_way[session - OWN].take() else {
                self.lines.push(format!(
                    "{name}: an end that nobody asked for, session {session}"
                ));
                continue;
            };
            let step = &self.spec.steps[step];
            let text = self.print(&step.action, outcome);
            if Some(step.session) != own {
                self.lines
                    .push(format!("{name} wakes {}: {text}", step.name));
            } else if text != "ok" {
                self.lines.push(format!("{name}: {text}"));
            }
        }
    }

    fn print(&self, action: &Action, outcome: Outcome) -> String {
        let ordered = match action {
            Action::Run { statement, .. } => self
                .statements
                .get(statement)
                .is_some_and(|known| known.ordered),
            Action::Sql(sql) => sql.contains("ORDER BY"),
            _ => {
                return match outcome {
                    Ok(_) => "ok".to_owned(),
                    Err(state) => format!("error {state}"),
                };
            }
        };
        match outcome {
            Err(state) => format!("error {state}"),
            Ok(found) => {
                let now = self.arm.now_us();
                let mut rows: Vec<String> = found
                    .rows
                    .iter()
                    .map(|row| format!(" ({})", print_row(row, now)))
                    .collect();
                if !ordered {
                    rows.sort();
                }
                let noun = if found.affected == 1 { "row" } else { "rows" };
                format!("{} {noun}{}", found.affected, rows.concat())
            }
        }
    }

    /// Rolls back what is open. A session that waits is woken by that, or its wait ends by itself.
    fn close(&mut self) -> Result<(), String> {
        let mut open: Vec<usize> = (0..self.under_way.len()).collect();
        while !open.is_empty() {
            let free = open
                .iter()
                .position(|&session| self.under_way[session].is_none());
            match free {
                Some(at) => {
                    let session = open.remove(at);
                    self.arm.submit(session + OWN, Request::Rollback)?;
                    let mut ended = self.arm.settle()?;
                    ended.retain(|(ended, _)| *ended != session + OWN);
                    self.record("end", None, ended);
                }
                None => {
                    let ended = self.arm.finish(open[0] + OWN)?;
                    self.record("end", None, ended);
                }
            }
        }
        Ok(())
    }
}

fn print_row(row: &[Value], now_us: i64) -> String {
    let values = row.iter().map(|value| world::print(value, now_us));
    values.collect::<Vec<_>>().join(" ")
}

/// Tables that only a tenant may read: name, columns, key.
const OF_A_TENANT: [(&str, &str, &str); 6] = [
    ("properties", "tenant_id, property_id, name", "property_id"),
    (
        "room_types",
        "tenant_id, room_type_id, property_id, name",
        "room_type_id",
    ),
    (
        "rooms",
        "tenant_id, room_id, room_type_id, number",
        "room_id",
    ),
    (
        "idempotency_keys",
        "tenant_id, idempotency_key, request_hash, allocation_id",
        "idempotency_key",
    ),
    (
        "tenant_freezes",
        "tenant_id, reason, frozen_at",
        "tenant_id",
    ),
    (
        "audit_log",
        "tenant_id, correlation_id, step, lever, target, principal, at",
        "correlation_id, step",
    ),
];

/// Tables that the jobs read.
const OF_ALL: [(&str, &str, &str); 4] = [
    (
        "room_type_inventory_daily",
        "tenant_id, room_type_id, night, capacity, policy_extra, held, confirmed, stop_sell",
        "room_type_id, night",
    ),
    (
        "room_allocations",
        "tenant_id, allocation_id, room_type_id, room_id, arrival, departure, channel, status, hold_until, version",
        "allocation_id",
    ),
    (
        "outbox",
        "outbox_id, tenant_id, ordering_key, event_type, payload, published_at",
        "outbox_id",
    ),
    ("job_runs", "job, succeeded_at", "job"),
];
