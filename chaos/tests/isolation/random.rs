//! Random interleavings of the ledger's statements on a few rows: both arms must do the same.
//!
//! Each case is a spec of one permutation; a failing one is shrunk and printed in the specs' own language, and its seed is kept in
//! `random.proptest-regressions`. `FIREDRILL_ISOLATION_CASES` sets the number of cases.
//! Where two wait when one is woken, PostgreSQL itself may go on with either (after a committed change its waiters look for the new
//! version without any order; those who wait for one key are woken together). Such a case is played on it up to five times;
//! if none agrees, what came before that race must, and the case is counted as compared in part.
//! Left out: timeouts; the specs by hand have them.

use std::{
    cell::{Cell, RefCell},
    env,
};

use ledger::ports::Role;
use proptest::{
    prelude::*,
    test_runner::{
        Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner,
    },
};

use crate::{
    arm::Arm,
    diff,
    pairs::role,
    play, postgres,
    real::Real,
    simulated::Simulated,
    spec::{self, Action, Permutation, Spec, Step},
    statements::Statements,
};

/// What a step draws from: a statement with its parameters; `night` and `stay` stand for drawn nights.
const CALLS: [&str; 55] = [
    "hold_claim_key k hash A",
    "hold_claim_key k2 hash B",
    "hold_find_key k",
    "hold_lock_nights R stay",
    "hold_lock_nights R stay",
    "hold_reserve_nights R stay",
    "hold_reserve_nights R stay",
    "hold_reserve_nights R stay",
    "hold_insert N R stay web 86400",
    "hold_insert O R stay web 86400",
    "confirm_allocation A",
    "confirm_allocation N",
    "confirm_nights R stay",
    "confirm_nights R stay",
    "release_allocation A",
    "release_allocation B",
    "release_nights R stay",
    "cancel_allocation C",
    "cancel_allocation A",
    "cancel_nights R stay",
    "expire_allocation B",
    "expire_allocation A",
    "sweep_lock A",
    "sweep_lock B",
    "sweep_candidates 10",
    "assign_room C M",
    "assign_room D M",
    "assign_room A L",
    "free_rooms R stay",
    "availability R 2026-12-24 2026-12-28",
    "audit_oversold R 2026-12-24 2026-12-28",
    "allocation_get A",
    "add_night R night 2 0",
    "add_room X R 3",
    "add_room X R 4",
    "add_room_type Q P Double",
    "add_room Y Q 1",
    "hold_insert N Q stay web 86400",
    "assign_room D X",
    "assign_room C L",
    "hold_find_key k2",
    "hold_claim_key k other N",
    "outbox_insert A held {}",
    "outbox_published 1",
    "outbox_batch 10",
    "job_succeeded expire-holds",
    "tenant_frozen",
    "freeze_tenant drill",
    "unfreeze_tenant",
    "audit_find c",
    "audit_insert c requested lever target ada",
    "audit_insert c done lever target ben",
    "stop_sell_nights R stay true",
    "stop_sell_nights R stay false",
    "property_room_types P",
];

/// How often a case with a race is played again on PostgreSQL.
const REPLAYS: usize = 4;

/// One drawn step.
#[derive(Clone, Debug)]
struct Drawn {
    session: usize,
    /// 0 to 1: commits; 2: rolls back; else runs.
    end: u8,
    call: usize,
    first_night: u8,
    nights: u8,
}

#[derive(Clone, Debug)]
struct Case {
    /// Capacity, held and confirmed of each night.
    counts: Vec<(u8, u8, u8)>,
    sessions: usize,
    /// The few calls of this case, so that its sessions meet.
    pool: Vec<usize>,
    steps: Vec<Drawn>,
}

fn cases_of() -> impl Strategy<Value = Case> {
    let counts = (0..3u8, 0..4u8, 0..3u8)
        .prop_map(|(free, held, confirmed)| (free + held + confirmed, held, confirmed));
    let step = (0..4usize, 0..14u8, 0..7usize, 0..4u8, 1..3u8).prop_map(
        |(session, end, call, first_night, nights)| Drawn {
            session,
            end,
            call,
            first_night,
            nights,
        },
    );
    (
        prop::collection::vec(counts, 3),
        2..5usize,
        prop::collection::vec(0..CALLS.len(), 2..7),
        prop::collection::vec(step, 1..30),
    )
        .prop_map(|(counts, sessions, pool, steps)| Case {
            counts,
            sessions,
            pool,
            steps,
        })
}

fn spec_of(case: &Case) -> Spec {
    let mut spec = Spec::new("drawn");
    spec.setup = [
        "property P",
        "room_type R of P",
        "room M of R number 1",
        "room L of R number 2",
        "allocation A of R 2026-12-24 2026-12-26 live",
        "allocation B of R 2026-12-25 2026-12-26 late",
        "allocation C of R 2026-12-24 2026-12-25 confirmed",
        "allocation D of R 2026-12-24 2026-12-27 confirmed",
        "event A",
        "job expire-holds",
    ]
    .map(str::to_owned)
    .to_vec();
    for ((capacity, held, confirmed), day) in case.counts.iter().zip(24..) {
        spec.setup.push(format!(
            "night R 2026-12-{day} capacity {capacity} held {held} confirmed {confirmed}"
        ));
    }
    for session in 0..case.sessions {
        let name = ["a", "b", "c", "d"][session].to_owned();
        spec.sessions.push((name.clone(), Role::App));
        spec.sessions.push((format!("{name}w"), Role::Worker));
    }
    let mut open = vec![false; spec.sessions.len()];
    for drawn in &case.steps {
        let app = drawn.session % case.sessions * 2;
        let call = CALLS[case.pool[drawn.call % case.pool.len()]];
        let statement = call.split(' ').next().unwrap_or_default();
        let session = app + usize::from(role(statement) == Role::Worker);
        // A commit or a rollback ends the transaction of the drawn statement's session.
        let action = match drawn.end {
            0 | 1 if open[session] => Action::Commit,
            2 if open[session] => Action::Rollback,
            _ => {
                if !open[session] {
                    // The fourth guest belongs to another tenant.
                    let tenant = if drawn.session % case.sessions == 3 {
                        "U"
                    } else {
                        "T"
                    };
                    let tenant = (session == app).then(|| tenant.to_owned());
                    push(&mut spec, session, Action::Begin(tenant));
                    open[session] = true;
                }
                let (from, to) = (
                    24 + drawn.first_night,
                    24 + drawn.first_night + drawn.nights,
                );
                let args = call
                    .replace("stay", &format!("2026-12-{from} 2026-12-{to}"))
                    .replace(" night ", &format!(" 2026-12-{from} "));
                let mut words = args.split(' ').map(str::to_owned);
                Action::Run {
                    statement: words.next().unwrap_or_default(),
                    args: words.collect(),
                }
            }
        };
        if matches!(action, Action::Commit | Action::Rollback) {
            open[session] = false;
        }
        push(&mut spec, session, action);
    }
    let steps = (0..spec.steps.len()).collect();
    spec.permutations.push(Permutation {
        steps,
        expected: Vec::new(),
    });
    drop_idle_sessions(&mut spec);
    spec
}

fn push(spec: &mut Spec, session: usize, action: Action) {
    let name = format!("{}{}", spec.sessions[session].0, spec.steps.len());
    spec.steps.push(Step {
        name,
        session,
        action,
    });
}

fn drop_idle_sessions(spec: &mut Spec) {
    for session in (0..spec.sessions.len()).rev() {
        if !spec.steps.iter().any(|step| step.session == session) {
            spec.sessions.remove(session);
            for step in &mut spec.steps {
                step.session -= usize::from(step.session > session);
            }
        }
    }
}

/// Where somebody was first woken while two or more waited: from there on PostgreSQL may go either way.
fn race(lines: &[String]) -> Option<usize> {
    let mut waiting = 0;
    lines.iter().position(|line| {
        if line.ends_with(": waits") {
            waiting += 1;
        } else if line.contains(" wakes ") {
            waiting -= 1;
        }
        line.contains(" wakes ") && waiting > 0
    })
}

/// How a case went alike.
#[derive(Default)]
struct Alike {
    /// It had a wait.
    waited: bool,
    /// Only the part before a race was the same.
    in_part: bool,
}

/// How the arms agree, or their difference as a spec with PostgreSQL's outcome.
fn compare(
    real: &mut dyn Arm,
    simulated: &mut dyn Arm,
    statements: &Statements,
    case: &Case,
) -> Result<Alike, String> {
    let mut spec = spec_of(case);
    let permutation = spec.permutations[0].clone();
    let on = |arm: &mut dyn Arm| {
        play::play(arm, statements, &spec, &permutation, &mut None)
            .unwrap_or_else(|error| vec![format!("! {error}")])
    };
    let got = on(simulated);
    let mut expected = on(real);
    for _ in 0..REPLAYS {
        if got == expected || race(&expected).is_none() {
            break;
        }
        expected = on(real);
    }
    let waited = expected.iter().any(|line| line.ends_with(": waits"));
    let before = race(&expected).unwrap_or(expected.len());
    if got == expected {
        return Ok(Alike {
            waited,
            in_part: false,
        });
    }
    if before < expected.len() && got.get(..before) == Some(&expected[..before]) {
        return Ok(Alike {
            waited,
            in_part: true,
        });
    }
    let text = diff(&expected, &got);
    spec.permutations[0].expected = expected;
    Err(format!(
        "{}\nPostgreSQL (-), simulated (+):\n{text}",
        spec::render(&spec)
    ))
}

fn number(variable: &str, otherwise: u32) -> u32 {
    env::var(variable).map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|error| panic!("{variable}={text}: {error}"))
    })
}

/// Draws cases and panics at the first difference, shrunk.
fn draw(real: &mut Real, simulated: &mut dyn Arm, statements: &Statements) {
    let cases = number("FIREDRILL_ISOLATION_CASES", 48);
    let seed = number("FIREDRILL_ISOLATION_SEED", 1);
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases,
        max_shrink_iters: 400,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/isolation/random.proptest-regressions"
        )))),
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let version = real.version.clone();
    let arms = RefCell::new((real, simulated));
    let (waits, in_part) = (Cell::new(0), Cell::new(0));
    let result = runner.run(&cases_of(), |case| {
        let (real, simulated) = &mut *arms.borrow_mut();
        match compare(*real, *simulated, statements, &case) {
            Ok(alike) => {
                waits.set(waits.get() + u32::from(alike.waited));
                in_part.set(in_part.get() + u32::from(alike.in_part));
                Ok(())
            }
            Err(text) => Err(TestCaseError::fail(text)),
        }
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(difference, _)) => panic!("the arms differ; shrunk:\n{difference}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
    crate::say(&format!(
        "random interleavings: {cases} of seed {seed} on the simulated engine and on PostgreSQL {version}, \
         {} with a wait, {} compared up to a race only",
        waits.get(),
        in_part.get()
    ));
}

#[test]
fn random_interleavings_go_alike_on_both_arms() {
    let statements = crate::ledger();
    let mut simulated = Simulated::new(&postgres::ledger_dir()).unwrap();
    if let Some(mut real) = Real::new("random interleavings", &postgres::ledger_dir()) {
        draw(&mut real, &mut simulated, &statements);
    }
}
