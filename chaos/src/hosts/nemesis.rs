//! The nemesis: carries out the plan's faults at their times, and undoes them.
//!
//! Invariant: each stroke acts on a host, a link, a clock, data or code; what it changed is recorded as ground truth.

use std::{sync::Arc, time::Duration};

use super::{LEDGERS, World, operator::Errand};
use crate::{
    recording::{Event, HostState, Nanos},
    scenario::{FaultKind, Plan},
    simnet::LinkConfig,
};

/// Runs the plan's faults, then waits for the plan's end.
pub async fn run(world: Arc<World>, plan: Arc<Plan>) {
    let mut strokes: Vec<(Nanos, bool, u32)> = Vec::new();
    for (index, fault) in (0u32..).zip(&plan.faults) {
        strokes.push((fault.at, true, index));
        strokes.extend(fault.until.map(|until| (until, false, index)));
    }
    strokes.sort_by_key(|&(at, begins, index)| (at, begins, index));
    for (at, begins, index) in strokes {
        if at > plan.duration {
            break;
        }
        world.sim().sleep_until(Duration::from_nanos(at)).await;
        world.record(Event::Fault {
            index,
            active: begins,
        });
        strike(&world, &plan.faults[index as usize].kind, begins, index).await;
    }
    world
        .sim()
        .sleep_until(Duration::from_nanos(plan.duration))
        .await;
}

async fn strike(world: &Arc<World>, kind: &FaultKind, begins: bool, index: u32) {
    let sim = world.sim();
    match kind {
        FaultKind::Crash { host } => down(world, host, begins, HostState::Crashed),
        FaultKind::Kill { host } => down(world, host, begins, HostState::Killed),
        FaultKind::Stop { host } => down(world, host, begins, HostState::Stopped),
        FaultKind::SchedulerStopped => down(world, "scheduler", begins, HostState::Stopped),
        FaultKind::Boot { host } => boot(world, host),
        FaultKind::Stall { host } => {
            let state = if begins {
                HostState::Stalled
            } else {
                HostState::Resumed
            };
            if begins {
                sim.freeze(host)
            } else {
                sim.thaw(host)
            }
            host_changed(world, host, state);
        }
        FaultKind::Partition { a, b } => {
            if begins {
                sim.partition(a, b)
            } else {
                sim.repair(a, b)
            }
            link_changed(world, a, b, !begins);
            link_changed(world, b, a, !begins);
        }
        FaultKind::PartitionOneWay { from, to } => {
            if begins {
                sim.partition_one_way(from, to)
            } else {
                sim.repair_one_way(from, to)
            }
            link_changed(world, from, to, !begins);
        }
        FaultKind::Loss { a, b, per_mille } => sim.set_loss(
            a,
            b,
            if begins {
                u32::from(*per_mille) * 1000
            } else {
                0
            },
        ),
        FaultKind::Latency { a, b, by } => {
            if begins {
                let base = super::link();
                let by = Duration::from_nanos(*by);
                sim.set_link(
                    a,
                    b,
                    LinkConfig::latency(base.latency_min + by, base.latency_max + by),
                );
            } else {
                sim.reset_link(a, b);
            }
        }
        FaultKind::BrokerRefuses => world.switches().broker_refuses = begins,
        FaultKind::SlowStatement { statement, by } => slow(world, statement, *by, begins),
        FaultKind::SlowInsert { table, by } => slow_inserts(world, table, *by, begins),
        FaultKind::Sql {
            role,
            tenant,
            sql,
            repair,
        } => {
            let statements = if begins { sql } else { repair };
            for statement in statements {
                world
                    .primary()
                    .execute(world, role.login(), *tenant, statement)
                    .await;
            }
        }
        FaultKind::HoldLock {
            room_type,
            night,
            nights,
        } => {
            if begins {
                let last = night + i32::from(*nights);
                let sql = format!(
                    "SELECT night FROM room_type_inventory_daily WHERE room_type_id = '{room_type}' AND night >= '{}' AND night < '{}' ORDER BY night FOR UPDATE",
                    super::date(*night),
                    super::date(last),
                );
                world.primary().open_report(world, index, sql).await;
            } else {
                world.primary().close_report(world, index).await;
            }
        }
        FaultKind::Release { overrides, pause } => {
            {
                let mut switches = world.switches();
                for (statement, sql) in overrides {
                    if begins {
                        switches.release.insert(statement.clone(), sql.clone())
                    } else {
                        switches.release.remove(statement)
                    };
                }
            }
            roll(world, *pause);
        }
        FaultKind::Deploy { pause } => roll(world, *pause),
        FaultKind::ClockOffset { host, by } => sim.set_clock(host, if begins { *by } else { 0 }, 0),
        FaultKind::ClockDrift { host, ppm } => {
            sim.set_clock(host, 0, if begins { i64::from(*ppm) } else { 0 })
        }
        FaultKind::CancelSurplus => world.errand(Errand::CancelSurplus),
    }
}

fn down(world: &World, host: &str, begins: bool, state: HostState) {
    if !begins {
        return boot(world, host);
    }
    match state {
        HostState::Crashed => world.sim().crash(host),
        HostState::Killed => world.sim().kill(host),
        _ => world.sim().stop(host),
    }
    if host == "prometheus" {
        world.record(Event::Evaluator(false));
    }
    host_changed(world, host, state);
}

fn boot(world: &World, host: &str) {
    world.sim().boot(host);
    host_changed(world, host, HostState::Up);
}

fn host_changed(world: &World, host: &str, state: HostState) {
    world.record(Event::Host {
        host: host.into(),
        state,
    });
}

fn link_changed(world: &World, from: &str, to: &str, up: bool) {
    world.record(Event::Link {
        from: from.into(),
        to: to.into(),
        up,
    });
}

fn slow(world: &World, statement: &Arc<str>, by: Nanos, begins: bool) {
    let mut switches = world.switches();
    if begins {
        switches
            .slow_statements
            .insert(statement.clone(), Duration::from_nanos(by));
    } else {
        switches.slow_statements.remove(statement);
    }
}

fn slow_inserts(world: &World, table: &str, by: Nanos, begins: bool) {
    let head = format!("insert into {table} ");
    for (name, sql) in world.statements() {
        let text: Vec<&str> = sql
            .lines()
            .filter(|line| !line.trim_start().starts_with("--"))
            .collect();
        if text.join(" ").to_lowercase().contains(&head) {
            slow(world, &name.into(), by, begins);
        }
    }
}

/// Stops and boots one ledger after the other; the next follows once the one before has been up for a while.
fn roll(world: &Arc<World>, pause: Nanos) {
    let world = world.clone();
    let sim = world.sim().clone();
    sim.spawn(async move {
        for host in LEDGERS {
            down(&world, host, true, HostState::Stopped);
            world
                .sim()
                .sleep_until(world.sim().now() + Duration::from_nanos(pause))
                .await;
            boot(&world, host);
            world.sim().sleep_until(world.sim().now() + READY).await;
        }
    });
}

/// What a deploy waits for after an instance's boot.
const READY: Duration = Duration::from_secs(20);
