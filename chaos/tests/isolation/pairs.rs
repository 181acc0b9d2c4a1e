//! Specs for every pair of statements that may meet in a row, made from one fixture per statement.
//!
//! Each pair is played from every state of the rows in which one of the two has something to do, in both orders: with the
//! first one's transaction open while the second runs, then committed, or rolled back; and with the second one's transaction
//! begun before the first one's but its statement run after.
//! Invariant: a statement file without a fixture is an error, so no pair is missed when one is added.
//! Left out: more than two sessions (`random.rs`, and by hand in `specs/`).

use std::collections::{BTreeMap, BTreeSet};

use ledger::ports::Role;

use crate::{
    spec::{Action, PATIENT, Permutation, Spec, Step},
    statements::{self, Statements},
};

/// The rows that both statements of a pair aim at. What one of them inserts does not exist before.
struct Target {
    property: &'static str,
    room_type: &'static str,
    room: &'static str,
    allocation: &'static str,
}

impl Target {
    fn of(pair: [&str; 2]) -> Target {
        let pick = |inserter: &str, new: &'static str, old: &'static str| {
            if pair.contains(&inserter) { new } else { old }
        };
        Target {
            property: pick("add_property", "O", "P"),
            room_type: pick("add_room_type", "Q", "R"),
            room: pick("add_room", "S", "M"),
            allocation: pick("hold_insert", "N", "K"),
        }
    }
}

/// A statement's parameters for a target, and the states in which it has something to do.
struct Fixture {
    args: Vec<String>,
    states: &'static [&'static str],
}

fn fixture(statement: &str, target: &Target) -> Option<Fixture> {
    let Target {
        property,
        room_type,
        room,
        allocation,
    } = *target;
    let stay = [room_type, "2026-12-24", "2026-12-26"];
    let (args, states): (&[&str], &'static [&'static str]) = match statement {
        "add_night" => (&[room_type, "2026-12-24", "3", "0"], &["last"]),
        "add_property" => (&[property, "Inn"], &[]),
        "add_room" => (&[room, room_type, "7"], &[]),
        "add_room_type" => (&[room_type, property, "Double"], &[]),
        "allocation_get" | "sweep_lock" => (&[allocation], &["live"]),
        "assign_room" => (&[allocation, room], &["confirmed"]),
        "audit_changed" => (&["3600"], &[]),
        "audit_find" => (&["c"], &["requested"]),
        "audit_insert" => (
            &["c", "done", "lever", "target", "ben"],
            &["plain", "requested"],
        ),
        "freeze_tenant" => (&["drill"], &["plain", "frozen"]),
        "tenant_frozen" | "unfreeze_tenant" => (&[], &["frozen"]),
        "property_room_types" => (&[property], &[]),
        "stop_sell_nights" => (&[room_type, "2026-12-24", "2026-12-26", "true"], &["last"]),
        "audit_oversold" | "availability" | "hold_lock_nights" => (&stay, &[]),
        "audit_room_types" | "collect_members" | "collect_outbox" | "collect_jobs"
        | "server_state" => (&[], &[]),
        "cancel_allocation" => (&[allocation], &["confirmed"]),
        "confirm_nights" | "cancel_nights" | "release_nights" => (&stay, &["last", "empty"]),
        "collect_holds" => (&[], &["late"]),
        "confirm_allocation" | "release_allocation" => (&[allocation], &["live"]),
        "expire_allocation" => (&[allocation], &["late"]),
        "free_rooms" => (&stay, &["confirmed"]),
        "hold_claim_key" => (&["k", "hash", allocation], &[]),
        "hold_find_key" => (&["k"], &[]),
        "hold_insert" => (
            &[
                allocation,
                room_type,
                "2026-12-24",
                "2026-12-26",
                "web",
                "86400",
            ],
            &["live"],
        ),
        "hold_reserve_nights" => (&stay, &["last", "full"]),
        "job_succeeded" => (&["expire-holds"], &[]),
        "outbox_batch" => (&["10"], &[]),
        "outbox_insert" => (&[allocation, "held", "payload"], &[]),
        "outbox_published" => (&["1"], &[]),
        "outbox_replay" => (&["1"], &["published"]),
        "sweep_candidates" => (&["10"], &["late"]),
        "try_leadership" => (&["7"], &[]),
        _ => return None,
    };
    Some(Fixture {
        args: args.iter().map(|&word| word.to_owned()).collect(),
        states,
    })
}

/// Who runs it: the jobs' role where the tenant's may not.
pub fn role(statement: &str) -> Role {
    const WORKER: [&str; 12] = [
        "audit_changed",
        "audit_oversold",
        "audit_room_types",
        "collect_holds",
        "collect_jobs",
        "collect_members",
        "collect_outbox",
        "job_succeeded",
        "outbox_batch",
        "outbox_published",
        "outbox_replay",
        "sweep_candidates",
    ];
    if WORKER.contains(&statement) {
        Role::Worker
    } else {
        Role::App
    }
}

/// Who runs it for a tenant: the tenant's own, and the job that acts in a tenant's name.
fn has_tenant(statement: &str) -> bool {
    role(statement) == Role::App || statement == "outbox_replay"
}

/// Rows to begin with.
fn setup(state: &str, pair: [&str; 2]) -> Vec<String> {
    let mut lines: Vec<String> = [
        "property P",
        "room_type R of P",
        "room M of R number 1",
        "room L of R number 2",
        match state {
            "published" => "event K published",
            _ => "event K",
        },
        "event K",
        "job expire-holds",
    ]
    .map(str::to_owned)
    .to_vec();
    match state {
        "frozen" => lines.push("frozen".to_owned()),
        "requested" => lines.push("requested c".to_owned()),
        _ => {}
    }
    let counts = match state {
        "live" | "late" => "capacity 1 held 1",
        "confirmed" => "capacity 1 confirmed 1",
        "full" => "capacity 4 held 2 confirmed 2",
        "empty" => "capacity 5",
        _ => "capacity 5 held 2 confirmed 2",
    };
    for night in ["2026-12-24", "2026-12-25"] {
        // Its insertion is the point of some pairs.
        if night != "2026-12-24" || !pair.contains(&"add_night") {
            lines.push(format!("night R {night} {counts}"));
        }
    }
    if let "live" | "late" | "confirmed" = state {
        lines.push(format!("allocation K of R 2026-12-24 2026-12-26 {state}"));
    }
    lines
}

/// The specs of all pairs, by file name.
///
/// # Errors
/// Names the statement that has no fixture.
pub fn specs(statements: &Statements) -> Result<BTreeMap<String, Vec<Spec>>, String> {
    let mut by_file: BTreeMap<String, Vec<Spec>> = BTreeMap::new();
    for ((a, b), tables) in statements::meeting(statements) {
        let table = tables.first().cloned().unwrap_or_default();
        let specs = by_file.entry(format!("pairs-{table}.spec")).or_default();
        let pair = [a.as_str(), b.as_str()];
        let target = Target::of(pair);
        let find = |name: &str| {
            fixture(name, &target).ok_or_else(|| {
                format!("sql/{name}.sql has no fixture: add its parameters and states in isolation/pairs.rs")
            })
        };
        let fixtures = [find(&a)?, find(&b)?];
        let mut states: BTreeSet<&str> = fixtures.iter().flat_map(|f| f.states).copied().collect();
        if states.is_empty() {
            states.insert("plain");
        }
        for state in states {
            specs.push(pair_spec(pair, state, &fixtures));
        }
    }
    Ok(by_file)
}

fn pair_spec(pair: [&str; 2], state: &str, fixtures: &[Fixture; 2]) -> Spec {
    let mut spec = Spec::new(&format!("{}+{} {state}", pair[0], pair[1]));
    spec.settings = PATIENT;
    spec.setup = setup(state, pair);
    for (session, (statement, fixture)) in pair.iter().zip(fixtures).enumerate() {
        let name = ["a", "b"][session];
        let role = role(statement);
        spec.sessions.push((name.to_owned(), role));
        let actions = [
            Action::Begin(has_tenant(statement).then(|| "T".to_owned())),
            Action::Run {
                statement: (*statement).to_owned(),
                args: fixture.args.clone(),
            },
            Action::Commit,
            Action::Rollback,
        ];
        for (action, number) in actions.into_iter().zip(1..) {
            spec.steps.push(Step {
                name: format!("{name}{number}"),
                session,
                action,
            });
        }
    }
    let (a, b) = ([0, 1, 2, 3], [4, 5, 6, 7]);
    let orders: &[[[usize; 4]; 2]] = if pair[0] == pair[1] {
        &[[a, b]]
    } else {
        &[[a, b], [b, a]]
    };
    for [first, second] in orders {
        for end in [first[2], first[3]] {
            spec.permutations.push(permutation(&[
                first[0], first[1], second[0], second[1], end, second[2],
            ]));
        }
        spec.permutations.push(permutation(&[
            second[0], first[0], first[1], first[2], second[1], second[2],
        ]));
    }
    spec
}

fn permutation(steps: &[usize]) -> Permutation {
    Permutation {
        steps: steps.to_vec(),
        expected: Vec::new(),
    }
}

/// Pairs that the specs cover in full: each statement once as the first, its transaction open while the other runs and then
/// committed, and rolled back.
pub fn covered<'a>(specs: impl Iterator<Item = &'a Spec>) -> BTreeSet<(String, String)> {
    let mut orders: BTreeMap<(String, String), BTreeSet<&str>> = BTreeMap::new();
    for spec in specs {
        for permutation in &spec.permutations {
            let steps: Vec<&Step> = permutation.steps.iter().map(|&i| &spec.steps[i]).collect();
            let [begin, first, begin_too, second, end, _] = steps[..] else {
                continue;
            };
            let open = matches!(
                (&begin.action, &begin_too.action),
                (Action::Begin(_), Action::Begin(_))
            ) && begin.session == first.session
                && begin_too.session == second.session
                && end.session == first.session
                && first.session != second.session;
            if let (true, Action::Run { statement: a, .. }, Action::Run { statement: b, .. }) =
                (open, &first.action, &second.action)
            {
                let end = match end.action {
                    Action::Commit => "commit",
                    _ => "rollback",
                };
                orders
                    .entry((a.clone(), b.clone()))
                    .or_default()
                    .insert(end);
            }
        }
    }
    let full = |key: &(String, String)| orders.get(key).is_some_and(|ends| ends.len() == 2);
    orders
        .keys()
        .filter(|(a, b)| a <= b && full(&(a.clone(), b.clone())) && full(&(b.clone(), a.clone())))
        .cloned()
        .collect()
}
