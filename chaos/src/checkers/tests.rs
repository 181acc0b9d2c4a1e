//! Each invariant, told as a history: one that keeps it, and one that breaks it in each way that can be told apart.

use ledger::ports::Value;

use super::*;
use crate::{
    history::{self, testing::*},
    recording::{Call, HostState, Phase, Stay},
    scenario::{PlannedKind, SECOND},
};

fn results(world: &World, tell: impl FnOnce(&World, &mut Story)) -> Vec<CheckResult> {
    let mut story = Story::new(world);
    tell(world, &mut story);
    story.frames.sort_by_key(|frame| frame.at);
    let mut checkers = Checkers::new(&world.plan);
    let pass = history::read(story.frames.into_iter(), &mut [&mut checkers]);
    checkers.finish(&pass)
}

/// The findings' sentences of one invariant, or that it passes or is unknown.
#[track_caller]
fn check(invariant: u8, tell: impl FnOnce(&World, &mut Story), expected: &[&str]) {
    check_in(&World::new(), invariant, tell, expected);
}

#[track_caller]
fn check_in(
    world: &World,
    invariant: u8,
    tell: impl FnOnce(&World, &mut Story),
    expected: &[&str],
) {
    let results = results(world, tell);
    let result = results
        .iter()
        .find(|result| result.invariant == invariant)
        .expect("a result");
    let found: Vec<&str> = result
        .findings
        .iter()
        .map(|finding| finding.what.as_str())
        .collect();
    let matches = found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(found, part)| found.contains(part));
    assert!(matches, "expected {expected:?}\nfound {result:#?}");
    let verdict = if expected.is_empty() {
        Verdict::Pass
    } else {
        Verdict::Fail
    };
    let unknown = expected == ["nothing to judge"] || expected == ["could not be read"];
    assert_eq!(
        result.verdict,
        if unknown { Verdict::Unknown } else { verdict }
    );
}

/// Index of the first planned hold on any stay whose owner is tenant 0, and its stay.
fn planned_hold(world: &World, nth: usize) -> (u32, Stay) {
    let mut holds = world
        .plan
        .operations
        .iter()
        .enumerate()
        .filter_map(|(index, op)| match op.kind {
            PlannedKind::Hold { stay, .. }
                if stay.tenant == world.tenant(0) && op.tenant == stay.tenant =>
            {
                Some((index as u32, stay))
            }
            _ => None,
        });
    holds.nth(nth).expect("a hold")
}

fn follower(world: &World, of: u32, wanted: fn(&PlannedKind) -> bool) -> Option<u32> {
    let position = world
        .plan
        .operations
        .iter()
        .position(|op| op.kind.of() == Some(of) && wanted(&op.kind));
    position.map(|index| index as u32)
}

/// A planned hold that has such a follower.
fn held_with(world: &World, wanted: fn(&PlannedKind) -> bool) -> (u32, Stay, u32) {
    (0..)
        .map(|nth| planned_hold(world, nth))
        .find_map(|(op, stay)| Some((op, stay, follower(world, op, wanted)?)))
        .expect("one with such a follower")
}

/// Commits the planned hold as allocation `number` and acknowledges it.
fn acknowledge(
    story: &mut Story,
    world: &World,
    at: Nanos,
    op: u32,
    stay: Stay,
    number: u32,
    status: &str,
) {
    let night = stay.arrival - world.plan.fixtures.first_night;
    story.hold(at, number, night, i32::from(stay.nights));
    // The story's rows are of room type 0; this hold is of its own.
    if let Some(Event::Commit(commit)) = story.frames.last_mut().map(|frame| &mut frame.event)
        && let Some(after) = &mut commit.rows[0].after
    {
        let mut row = after.to_vec();
        row[2] = Value::Uuid(stay.room_type);
        *after = row.clone().into();
        story.replace(number, row);
    }
    reply(story, at + 1, op, number, status);
}

fn reply(story: &mut Story, at: Nanos, op: u32, number: u32, status: &str) {
    let hold_until = (status == "held").then(|| us(at + 600 * SECOND));
    let reply = crate::recording::Reply::Allocation {
        id: id(number),
        status: status.into(),
        room: None,
        hold_until,
    };
    story.op(at, op, Phase::Ok(reply));
}

#[test]
fn nothing_seen_is_unknown_for_every_invariant() {
    let results = results(&World::new(), |_, story| story.end(SECOND));
    assert_eq!(results.len(), 7);
    for result in results {
        assert_eq!(result.verdict, Verdict::Unknown, "{result:?}");
        assert_eq!(result.findings[0].what, "there was nothing to judge");
    }
}

#[test]
fn unreadable_rows_are_unknown_and_a_seen_violation_still_fails() {
    let odd = |story: &mut Story| {
        story.commit(
            at(0, 1),
            "ledger_app",
            vec![change("outbox", None, Some(vec![Value::Null]))],
        )
    };
    let told = results(&World::new(), |_, story| {
        story.hold(at(0, 1), 1, 5, 1);
        odd(story);
    });
    assert_eq!(told[0].verdict, Verdict::Unknown, "{:?}", told[0]);
    let told = results(&World::new(), |_, story| {
        (0..5).for_each(|number| story.hold(at(0, 1), number, 5, 1));
        odd(story);
    });
    assert_eq!(told[0].verdict, Verdict::Fail);
}

#[test]
fn a_checker_that_panics_is_unknown_and_leaves_the_others_alone() {
    #[derive(Default)]
    struct Broken(Notes);
    impl Observer for Broken {
        fn event(&mut self, _: Nanos, _: &Event) {
            panic!("a checker of its own mistakes");
        }
    }
    impl Check for Broken {
        fn invariant(&self) -> u8 {
            9
        }
        fn notes(&mut self) -> &mut Notes {
            &mut self.0
        }
    }
    let world = World::new();
    let mut story = Story::new(&world);
    story.hold(SECOND, 1, 5, 1);
    story.end(2 * SECOND);
    let plan = Arc::new(world.plan.clone());
    let mut checkers = Checkers::of(vec![
        Box::new(Broken::default()),
        Box::new(overbooking::Checker::new(&plan)),
    ]);
    let pass = history::read(story.frames.into_iter(), &mut [&mut checkers]);
    let results = checkers.finish(&pass);
    assert_eq!(
        (results[0].verdict, results[1].verdict),
        (Verdict::Unknown, Verdict::Pass)
    );
    assert!(
        results[0].findings[0]
            .evidence
            .contains("of its own mistakes"),
        "{:?}",
        results[0]
    );
}

#[test]
fn no_night_is_sold_beyond_its_limit() {
    let sell = |count: u32| {
        move |_: &World, story: &mut Story| {
            (0..count).for_each(|number| story.hold(at(0, 1), number, 5, 1))
        }
    };
    check(1, sell(4), &[]);
    check(1, sell(5), &["5 of 4 rooms are taken on 2026-03-07"]);
    check(
        1,
        |_, story| {
            sell(4)(&World::new(), story);
            story.set(at(0, 2), 0, "released", None);
            story.hold(at(0, 3), 9, 5, 1);
        },
        &[],
    );
    let counters = |sold: i64| {
        move |world: &World, story: &mut Story| {
            story.hold(at(0, 1), 1, 5, 1);
            let row = [4, 0, sold, 0].map(Value::Int);
            let mut night = vec![
                Value::Uuid(world.tenant(0)),
                Value::Uuid(world.room_type()),
                Value::Date(20_519),
            ];
            night.extend(row);
            night.push(Value::Bool(false));
            story.commit(
                at(0, 2),
                "postgres",
                vec![change("room_type_inventory_daily", None, Some(night))],
            );
        }
    };
    check(1, counters(4), &[]);
    check(
        1,
        counters(5),
        &["the counters of 2026-03-07 say 5 of 4 rooms"],
    );
}

#[test]
fn clients_together_never_hold_more_than_there_is() {
    let world = World::new();
    let told = |count: u32, wait: Nanos| {
        let world = World::new();
        let (op, stay) = planned_hold(&world, 0);
        let limit = world
            .plan
            .fixtures
            .room_types()
            .find(|(_, kind)| kind.id == stay.room_type)
            .expect("it")
            .1
            .capacity;
        move |_: &World, story: &mut Story| {
            story.hold(at(0, 1), 99, 60, 1);
            for number in 0..u32::from(limit) + count {
                reply(
                    story,
                    at(0, 2) + u64::from(number) * wait,
                    op,
                    number,
                    "held",
                );
            }
        }
    };
    check_in(&world, 1, told(0, 1), &[]);
    check_in(&world, 1, told(1, 1), &["clients hold"]);
    // Ten minutes later the first have ended.
    check_in(&world, 1, told(1, 300 * SECOND), &[]);
}

#[test]
fn no_room_has_two_stays_at_once() {
    let stays = |second: i32, status: &'static str| {
        move |world: &World, story: &mut Story| {
            story.hold(at(0, 1), 1, 5, 3);
            story.hold(at(0, 2), 2, second, 2);
            story.set(at(0, 3), 1, "confirmed", Some(world.room(0)));
            story.set(at(0, 4), 1, status, Some(world.room(0)));
            story.set(at(0, 5), 2, "confirmed", Some(world.room(0)));
        }
    };
    check(2, stays(8, "confirmed"), &[]);
    check(2, stays(3, "confirmed"), &[]);
    check(
        2,
        stays(7, "confirmed"),
        &["a room has two stays on 2026-03-09"],
    );
    check(
        2,
        stays(4, "confirmed"),
        &["a room has two stays on 2026-03-07"],
    );
    check(2, stays(7, "cancelled"), &[]);
}

#[test]
fn no_two_clients_are_told_the_same_room() {
    let world = World::new();
    let (op, stay, confirm) = held_with(&world, |kind| matches!(kind, PlannedKind::Confirm { .. }));
    let told = |rooms: [usize; 2]| {
        move |world: &World, story: &mut Story| {
            for (number, room) in rooms.into_iter().enumerate() {
                let reply = crate::recording::Reply::Allocation {
                    id: id(number as u32),
                    status: "confirmed".into(),
                    room: Some(world.room(room)),
                    hold_until: None,
                };
                story.op(at(0, 5 + number as u64), confirm, Phase::Ok(reply));
            }
        }
    };
    assert!(stay.nights > 0 && op < confirm);
    let given_up = |event: Event| {
        move |world: &World, story: &mut Story| {
            told([0, 0])(world, story);
            story.event(at(0, 5) + 1, event);
        }
    };
    check_in(&world, 2, told([0, 1]), &[]);
    check_in(
        &world,
        2,
        given_up(Event::Operator(Call::Cancel(id(0)))),
        &[],
    );
    check_in(
        &world,
        2,
        given_up(Event::Operator(Call::Release(id(0)))),
        &["two clients were told the same room"],
    );
    check_in(
        &world,
        2,
        told([0, 0]),
        &["two clients were told the same room"],
    );
}

#[test]
fn what_was_acknowledged_is_there_at_once_and_at_the_end() {
    let world = World::new();
    let (op, stay, confirm) = held_with(&world, |kind| matches!(kind, PlannedKind::Confirm { .. }));
    let told = |last: &'static str| {
        move |world: &World, story: &mut Story| {
            acknowledge(story, world, at(0, 1), op, stay, 1, "held");
            story.set(at(0, 2), 1, "confirmed", None);
            reply(story, at(0, 3), confirm, 1, "confirmed");
            story.set(at(0, 4), 1, last, None);
        }
    };
    let asked = |event: Event| {
        move |world: &World, story: &mut Story| {
            told("cancelled")(world, story);
            story.event(at(0, 3) + 1, event);
        }
    };
    check_in(&world, 3, told("confirmed"), &[]);
    check_in(&world, 3, asked(Event::Operator(Call::Cancel(id(1)))), &[]);
    check_in(
        &world,
        3,
        |world, story| {
            told("cancelled")(world, story);
            story.op(
                at(0, 3) + 1,
                confirm + 1,
                Phase::Invoke(Call::Cancel(id(1))),
            );
        },
        &[],
    );
    check_in(
        &world,
        3,
        told("cancelled"),
        &["an acknowledged confirmation is undone: the allocation is cancelled"],
    );
    check_in(
        &world,
        3,
        told("expired"),
        &["an acknowledged confirmation is undone: the allocation is expired"],
    );
    check_in(
        &world,
        3,
        |_, story| reply(story, at(0, 1), op, 1, "held"),
        &["an acknowledged hold is gone"],
    );
    let early = |world: &World, story: &mut Story| {
        acknowledge(story, world, at(0, 1), op, stay, 1, "held");
        reply(story, at(0, 2), confirm, 1, "confirmed");
        story.set(at(0, 3), 1, "confirmed", None);
    };
    check_in(
        &world,
        3,
        early,
        &["an acknowledged confirmation is undone: the allocation is held"],
    );
    let other = |world: &World, story: &mut Story| {
        let moved = Stay {
            arrival: stay.arrival + 1,
            ..stay
        };
        acknowledge(story, world, at(0, 1), op, moved, 1, "held");
    };
    check_in(
        &world,
        3,
        other,
        &["an acknowledged hold is for another stay"],
    );
}

/// A row of `idempotency_keys`: the key `op-7` stands for allocation `number`.
fn key_row(tenant: uuid::Uuid, number: u32) -> Vec<Value> {
    vec![
        Value::Uuid(tenant),
        Value::Text("op-7".into()),
        Value::Text("hash".into()),
        Value::Uuid(id(number)),
    ]
}

#[test]
fn a_hold_sent_twice_is_one_allocation() {
    let world = World::new();
    let (op, stay, again) = held_with(&world, |kind| matches!(kind, PlannedKind::Again { .. }));
    let told = |second: u32| {
        move |world: &World, story: &mut Story| {
            acknowledge(story, world, at(0, 1), op, stay, 1, "held");
            acknowledge(story, world, at(0, 2), op, stay, 2, "held");
            story.frames.pop();
            reply(story, at(0, 3), again, second, "held");
        }
    };
    check_in(&world, 3, told(1), &[]);
    check_in(
        &world,
        3,
        told(2),
        &["a hold sent twice under one key became two allocations"],
    );
    let used = |tenants: [usize; 2], numbers: [u32; 2], lost: bool| {
        move |world: &World, story: &mut Story| {
            for (turn, (tenant, number)) in tenants.into_iter().zip(numbers).enumerate() {
                let row = key_row(world.tenant(tenant), number);
                story.commit(
                    at(0, 1 + 5 * turn as u64),
                    "ledger_app",
                    vec![change("idempotency_keys", None, Some(row))],
                );
                if lost && turn == 0 {
                    story.promote(at(0, 3), 0);
                }
            }
        }
    };
    check_in(&world, 3, used([0, 0], [1, 1], false), &[]);
    check_in(&world, 3, used([0, 1], [1, 2], false), &[]);
    // What a failover lost may be made anew.
    check_in(&world, 3, used([0, 0], [1, 2], true), &[]);
    check_in(
        &world,
        3,
        used([0, 0], [1, 2], false),
        &["one key stands for two allocations"],
    );
}

#[test]
fn a_failover_keeps_what_was_acknowledged() {
    let world = World::new();
    let (op, stay) = planned_hold(&world, 0);
    let failover = |behind: u64| {
        move |world: &World, story: &mut Story| {
            acknowledge(story, world, at(0, 1), op, stay, 1, "held");
            story.promote(at(0, 5), story.lsn - behind);
            story.hold(at(0, 9), 2, 50, 1);
        }
    };
    check_in(&world, 3, failover(0), &[]);
    check_in(&world, 3, failover(1), &["an acknowledged hold is gone"]);
}

#[test]
fn no_transaction_changes_anothers_rows_and_no_row_changes_hands() {
    let world = World::new();
    let (own, other) = (world.tenant(0), world.tenant(1));
    let insert = |role: &'static str, tenant: uuid::Uuid| {
        move |_: &World, story: &mut Story| {
            let row = key_row(tenant, 1);
            story.commit(
                at(0, 1),
                role,
                vec![change("idempotency_keys", None, Some(row))],
            );
        }
    };
    check_in(&world, 5, insert("ledger_app", own), &[]);
    check_in(
        &world,
        5,
        insert("ledger_app", other),
        &["changed a row of tenant"],
    );
    check_in(&world, 5, insert("ledger_worker", other), &[]);
    check_in(
        &world,
        5,
        |_, story| {
            let row = |tenant| Some(key_row(tenant, 1));
            story.commit(
                at(0, 1),
                "ledger_worker",
                vec![change("idempotency_keys", row(own), row(other))],
            );
        },
        &["a row went from tenant"],
    );
    check_in(
        &world,
        5,
        |_, story| {
            story.tenant = other;
            story.hold(at(0, 1), 1, 5, 1);
        },
        &["takes another tenant's rooms"],
    );
}

#[test]
fn no_answer_and_no_publication_crosses_tenants() {
    let world = World::new();
    let (op, stay) = planned_hold(&world, 0);
    let elsewhere = world
        .plan
        .operations
        .iter()
        .position(|op| op.tenant == world.tenant(1))
        .expect("one") as u32;
    let answer = |op: u32| {
        move |world: &World, story: &mut Story| {
            acknowledge(
                story,
                world,
                at(0, 1),
                planned_hold(world, 0).0,
                stay,
                1,
                "held",
            );
            reply(story, at(0, 2), op, 1, "held");
        }
    };
    check_in(&world, 5, answer(op), &[]);
    check_in(
        &world,
        5,
        answer(elsewhere),
        &["was answered an allocation of tenant"],
    );
    // A search of the wrong tenant.
    let mut strayed = World::new();
    let (search, _) = strayed
        .plan
        .operations
        .iter()
        .enumerate()
        .find(|(_, op)| matches!(op.kind, PlannedKind::Search(_)))
        .expect("a search");
    let foreign = Stay {
        tenant: world.tenant(1),
        room_type: world.room_type(),
        arrival: 20_520,
        nights: 2,
    };
    strayed.plan.operations[search].tenant = world.tenant(1);
    strayed.plan.operations[search].kind = PlannedKind::Search(foreign);
    let free = |available: Vec<i32>| {
        move |_: &World, story: &mut Story| {
            story.op(
                at(0, 1),
                search as u32,
                Phase::Invoke(Call::Search(foreign)),
            );
            story.op(
                at(0, 2),
                search as u32,
                Phase::Ok(crate::recording::Reply::Availability {
                    available,
                    cached: true,
                }),
            );
        }
    };
    check_in(&strayed, 5, free(vec![]), &[]);
    check_in(&strayed, 5, free(vec![0, 0]), &[]);
    check_in(
        &strayed,
        5,
        free(vec![0, 3]),
        &["was answered the free rooms of tenant"],
    );
    check_in(
        &world,
        5,
        |world, story| {
            story.hold(at(0, 1), 1, 5, 1);
            story.tenant = world.tenant(1);
            story.publish(at(0, 2), 1, 1);
        },
        &["was published to tenant"],
    );
}

#[test]
fn each_committed_event_is_published_and_none_other() {
    check(
        6,
        |_, story| {
            story.outbox(at(0, 1), 1, 1);
            story.publish(at(0, 2), 1, 1);
            story.publish(at(0, 3), 1, 1);
            story.mark(at(0, 4), 1);
            story.end(at(30, 0));
        },
        &[],
    );
    check(
        6,
        |_, story| {
            story.outbox(at(0, 1), 1, 1);
            story.end(at(30, 0));
        },
        &["a committed event was not published within its bound of 2m"],
    );
    // Healed at 2:00, due at 4:00.
    check(
        6,
        |_, story| {
            story.outbox(at(0, 1), 1, 1);
            story.end(at(3, 59));
        },
        &[],
    );
    check(
        6,
        |_, story| {
            story.publish(at(0, 1), 1, 1);
            story.outbox(at(0, 2), 1, 1);
            story.publish(at(0, 3), 1, 1);
        },
        &["something was published of which no row is committed"],
    );
    check(
        6,
        |_, story| {
            story.outbox(at(0, 1), 1, 1);
            story.mark(at(0, 2), 1);
            story.publish(at(0, 3), 1, 1);
        },
        &["marked as published, but the broker has never stored it"],
    );
    check(
        6,
        |_, story| {
            story.outbox(at(0, 1), 1, 1);
            story.publish(at(0, 2), 1, 7);
        },
        &["what was published is not what was committed"],
    );
}

#[test]
fn events_of_a_key_are_published_in_order_of_their_commits() {
    let order = |ids: &'static [i64]| {
        move |_: &World, story: &mut Story| {
            for id in 1..=3 {
                story.outbox(at(0, id), id as i64, 1);
            }
            story.outbox(at(0, 4), 4, 2);
            ids.iter().enumerate().for_each(|(place, id)| {
                story.publish(at(1, place as u64), *id, if *id == 4 { 2 } else { 1 })
            });
        }
    };
    check(6, order(&[1, 2, 3, 4]), &[]);
    check(6, order(&[4, 1, 2, 1, 2, 3]), &[]);
    check(
        6,
        order(&[2, 1, 3, 4]),
        &["an event overtook an earlier one of its key"],
    );
}

#[test]
fn what_a_failover_lost_must_not_have_been_published() {
    let story = |published: bool| {
        move |_: &World, story: &mut Story| {
            let kept = story.lsn;
            story.outbox(at(0, 1), 1, 1);
            if published {
                story.publish(at(0, 2), 1, 1);
            }
            story.promote(at(0, 3), kept);
            story.outbox(at(0, 4), 1, 2);
            story.publish(at(0, 5), 1, 2);
        }
    };
    check(6, story(false), &[]);
    check(6, story(true), &["whose change a failover lost"]);
}

#[test]
fn every_hold_ends_once_as_it_may_and_in_time() {
    let told = |steps: &'static [(u64, &'static str)]| {
        move |_: &World, story: &mut Story| {
            story.hold(at(0, 0), 1, 5, 1);
            steps
                .iter()
                .for_each(|(second, status)| story.set(at(0, *second), 1, status, None));
            story.end(at(40, 0));
        }
    };
    check(8, told(&[(599, "confirmed"), (700, "cancelled")]), &[]);
    check(8, told(&[(600, "expired")]), &[]);
    check(8, told(&[(30, "released")]), &[]);
    check(
        8,
        told(&[(600, "confirmed")]),
        &["a hold was confirmed 0ms after its end"],
    );
    check(
        8,
        told(&[(601, "confirmed")]),
        &["a hold was confirmed 1s after its end"],
    );
    check(
        8,
        told(&[(590, "expired")]),
        &["a hold expired 10s before its end"],
    );
    check(
        8,
        told(&[(600, "expired"), (610, "confirmed")]),
        &["from expired to confirmed"],
    );
    check(
        8,
        told(&[(30, "confirmed"), (610, "expired")]),
        &["from confirmed to expired"],
    );
    check(
        8,
        told(&[(721, "expired")]),
        &["a hold ended 1s after its bound of 2m"],
    );
    check(
        8,
        told(&[]),
        &["neither confirmed, released nor expired within its bound of 2m"],
    );
    let unfinished = |_: &World, story: &mut Story| {
        story.hold(at(0, 0), 1, 5, 1);
        story.hold(at(0, 1), 2, 5, 1);
        story.set(at(0, 30), 2, "released", None);
        story.end(at(11, 59));
    };
    check(8, unfinished, &[]);
}

/// A body in which each counter has this value and both ages are as given, read at `read`.
fn body(total: u64, ages: [f64; 2], read: Nanos) -> String {
    let names = [
        "inventory_allocations_total{op=\"hold\",outcome=\"ok\"}",
        "inventory_allocations_total{op=\"confirm\",outcome=\"ok\"}",
        "inventory_allocations_total{op=\"release\",outcome=\"ok\"}",
        "inventory_allocations_total{op=\"cancel\",outcome=\"ok\"}",
        "inventory_holds_expired_total",
        "inventory_outbox_published_total{outcome=\"ok\"}",
    ];
    let mut text = format!(
        "# TYPE inventory_holds_expired_total counter\n{} {total}\n",
        names[0]
    );
    names[1..]
        .iter()
        .for_each(|name| text.push_str(&format!("{name} 0\n")));
    text.push_str("inventory_overbooking_actual_total 0\n");
    text.push_str(&format!(
        "inventory_outbox_oldest_seconds {}\ninventory_hold_expiry_oldest_seconds {}\n",
        ages[0], ages[1]
    ));
    text.push_str(&format!(
        "inventory_collector_last_refresh_timestamp_seconds {}\n",
        us(read) as f64 / 1e6
    ));
    text
}

struct Exposed(Vec<Box<str>>);

impl Exposed {
    fn scrape(&mut self, story: &mut Story, at: Nanos, text: &str) {
        let outcome = Ok(BodyDiff::advance(&mut self.0, text));
        story.event(
            at,
            Event::Scrape {
                target: "ledger-1".into(),
                duration: 1000,
                outcome,
            },
        );
    }
}

#[test]
fn counters_equal_what_was_committed_over_restarts() {
    let told = |counted: [u64; 2]| {
        move |_: &World, story: &mut Story| {
            let mut exposed = Exposed(Vec::new());
            let hold = |story: &mut Story, first: u32, from: Nanos| {
                (0..40)
                    .for_each(|n| story.hold(from + u64::from(n) * SECOND, first + n, n as i32, 1))
            };
            story.host(0, "ledger-1", HostState::Up);
            hold(story, 0, at(1, 0));
            exposed.scrape(story, at(2, 0), &body(counted[0], [0.0, 0.0], at(1, 58)));
            story.host(at(2, 1), "ledger-1", HostState::Stopped);
            story.host(at(2, 20), "ledger-1", HostState::Up);
            hold(story, 100, at(3, 0));
            exposed.scrape(story, at(4, 0), &body(counted[1], [0.0, 0.0], at(3, 58)));
            story.end(at(4, 1));
        }
    };
    check(11, told([40, 40]), &[]);
    check(11, told([40, 30]), &[]);
    check(11, told([40, 10]), &["counted 50, but 80 happened"]);
    check(11, told([40, 60]), &["counted 100, but 80 happened"]);
    check(11, told([0, 40]), &["counted 40, but 80 happened"]);
}

#[test]
fn a_series_that_never_shows_is_not_a_silent_zero() {
    check(
        11,
        |_, story| {
            let mut exposed = Exposed(Vec::new());
            let text: String = body(0, [0.0, 0.0], at(0, 58))
                .lines()
                .filter(|line| !line.contains("holds_expired"))
                .map(|line| format!("{line}\n"))
                .collect();
            exposed.scrape(story, at(1, 0), &text);
        },
        &["no scrape ever showed inventory_holds_expired_total"],
    );
}

#[test]
fn oversold_nights_are_counted_if_and_only_if_there_are_some() {
    let told = |sold: u32, counted: &'static str| {
        move |_: &World, story: &mut Story| {
            let mut exposed = Exposed(Vec::new());
            (0..sold).for_each(|number| story.hold(at(0, 1), number, 5, 1));
            let text = body(u64::from(sold), [0.0, 0.0], at(1, 58))
                .replace("overbooking_actual_total 0", counted);
            exposed.scrape(story, at(2, 0), &text);
            story.end(at(2, 1));
        }
    };
    check(11, told(4, "overbooking_actual_total 0"), &[]);
    check(11, told(5, "overbooking_actual_total 6"), &[]);
    check(
        11,
        told(4, "overbooking_actual_total 6"),
        &["6 oversold nights were counted, but none ever was"],
    );
    check(
        11,
        told(5, "overbooking_actual_total 0"),
        &["and none was counted"],
    );
}

#[test]
fn gauges_of_age_say_how_old_things_were_when_they_were_read() {
    let told = |ages: [f64; 2]| {
        move |_: &World, story: &mut Story| {
            let mut exposed = Exposed(Vec::new());
            story.hold(at(0, 1), 1, 5, 1);
            story.outbox(at(10, 0), 1, 1);
            exposed.scrape(story, at(11, 0), &body(1, ages, at(10, 56)));
        }
    };
    check(11, told([56.0, 55.0]), &[]);
    check(11, told([53.5, 55.0]), &[]);
    check(
        11,
        told([0.0, 55.0]),
        &["inventory_outbox_oldest_seconds says 0.0 s, but the truth was 52.0 to 57.0 s"],
    );
    check(
        11,
        told([56.0, 0.0]),
        &["inventory_hold_expiry_oldest_seconds says 0.0 s"],
    );
}
