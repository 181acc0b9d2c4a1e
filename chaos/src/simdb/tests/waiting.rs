//! Sessions that meet: who waits for whom, who wakes in which order, how waits end, what is recorded of them.

use ledger::ports::{DbError, Value};

use super::super::{Database, DbConfig, Output, Request};
use super::rig::{MS, Rig, bare};
use crate::recording::DbEvent;

fn counters() -> Rig {
    let mut rig = Rig::new(bare(
        "CREATE TABLE t (id integer PRIMARY KEY, n integer NOT NULL DEFAULT 0, tag text);
         GRANT SELECT, INSERT, UPDATE, DELETE ON t TO app;
         INSERT INTO t (id) VALUES (1), (2), (3);",
    ));
    rig.outputs.clear();
    rig
}

/// Plays `session: SQL = outcome` lines; `+5` lets 5 ms pass; `session ?` asks for an answer that came meanwhile.
fn play(rig: &mut Rig, script: &str) {
    for (at, line) in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .enumerate()
    {
        if let Some(ms) = line.strip_prefix('+') {
            rig.pass(ms.parse().unwrap());
            continue;
        }
        let (call, want) = line.rsplit_once(" =>").unwrap();
        let (name, sql) = call.split_once(": ").unwrap();
        let name = format!("app#{name}");
        let got = if sql == "?" {
            rig.shown(&name)
        } else {
            rig.sql(&name, sql)
        };
        assert_eq!(got, want.trim(), "line {}: {line}", at + 1);
    }
}

fn events(rig: &Rig) -> Vec<DbEvent> {
    let events = rig.outputs.iter().filter_map(|output| match output {
        Output::Event(event) => Some(event.clone()),
        _ => None,
    });
    events.collect()
}

#[test]
fn waiters_of_a_row_go_on_in_their_order_on_the_newest_version() {
    let mut rig = counters();
    play(
        &mut rig,
        "a: BEGIN => 0
         a: UPDATE t SET n = n + 1 WHERE id = 1 => 1
         b: BEGIN => 0
         b: UPDATE t SET n = n * 10 WHERE id = 1 RETURNING n => waits
         c: UPDATE t SET n = n + 5 WHERE id = 1 RETURNING n => waits
         +7
         a: COMMIT => 0
         b: ? => 10
         c: ? => waits
         +3
         b: COMMIT => 0
         c: ? => 15",
    );
    let recheck = DbEvent::Recheck { kept: true };
    let at_once = DbEvent::LockAcquired { waited: 0 };
    let want = [
        at_once,
        recheck.clone(),
        DbEvent::LockAcquired { waited: 7 * MS },
        recheck,
        DbEvent::LockAcquired { waited: 10 * MS },
    ];
    assert_eq!(events(&rig), want);
}

#[test]
fn who_blocks_is_told() {
    let mut rig = counters();
    play(
        &mut rig,
        "a: BEGIN => 0
         a: SELECT id FROM t WHERE id = 1 FOR UPDATE => 1
         b: UPDATE t SET n = 1 WHERE id = 1 => waits
         c: UPDATE t SET n = 2 WHERE id = 1 => waits",
    );
    let [a, b, c] = ["app#a", "app#b", "app#c"].map(|name| rig.session(name));
    assert_eq!(
        (rig.db.waiting(a), rig.db.waiting(b), rig.db.waiting(c)),
        (None, Some(vec![a]), Some(vec![a, b]))
    );
}

#[test]
fn a_row_that_no_longer_qualifies_is_passed_over_and_stays_locked() {
    let mut rig = counters();
    play(
        &mut rig,
        "a: BEGIN => 0
         a: UPDATE t SET n = 9 WHERE id = 1 => 1
         b: BEGIN => 0
         b: UPDATE t SET tag = 'b' WHERE n = 0 => waits
         a: COMMIT => 0
         b: ? => 2
         c: UPDATE t SET tag = 'c' WHERE id = 1 => waits
         b: COMMIT => 0
         c: ? => 1
         c: SELECT id, n, tag FROM t ORDER BY id => 1|9|c;2|0|b;3|0|b",
    );
    assert!(events(&rig).contains(&DbEvent::Recheck { kept: false }));
}

#[test]
fn a_rolled_back_holder_leaves_nothing_to_recheck() {
    let mut rig = counters();
    play(
        &mut rig,
        "a: BEGIN => 0
         a: UPDATE t SET n = 9 WHERE id = 1 => 1
         b: UPDATE t SET n = n + 1 WHERE id = 1 RETURNING n => waits
         a: ROLLBACK => 0
         b: ? => 1",
    );
    assert!(
        !events(&rig)
            .iter()
            .any(|event| matches!(event, DbEvent::Recheck { .. }))
    );
}

#[test]
fn skip_locked_and_nowait_do_not_wait() {
    let mut rig = counters();
    play(
        &mut rig,
        "a: BEGIN => 0
         a: SELECT id FROM t WHERE id < 3 FOR UPDATE => 1;2
         b: SELECT id FROM t ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED => 3
         b: SELECT id FROM t WHERE id = 1 FOR UPDATE NOWAIT => 55P03: could not obtain lock on row in relation \"t\"
         b: SELECT id FROM t WHERE id = 1 => 1",
    );
    assert_eq!(
        events(&rig)
            .iter()
            .filter(|event| **event == DbEvent::Skipped)
            .count(),
        2
    );
}

#[test]
fn time_limits_end_waits_and_count_from_where_they_should() {
    let mut rig = counters();
    play(
        &mut rig,
        "a: BEGIN => 0
         a: UPDATE t SET n = 1 WHERE id = 1 => 1
         b: UPDATE t SET n = 2 WHERE id = 1 => waits
         +499
         b: ? => waits
         +1
         b: ? => 55P03: canceling statement due to lock timeout
         b: SET lock_timeout = 0 => 0
         b: UPDATE t SET n = 2 WHERE id = 1 => waits
         +799
         b: ? => waits
         +1
         b: ? => 57014: canceling statement due to statement timeout
         a: COMMIT => 0",
    );
    let timeouts = events(&rig)
        .iter()
        .filter(|event| **event == DbEvent::LockTimeout)
        .count();
    assert_eq!(timeouts, 2);
}

#[test]
fn a_wait_begins_anew_for_who_comes_to_the_head_of_the_queue() {
    for (end, answer) in [("COMMIT", "10"), ("ROLLBACK", "0")] {
        let mut rig = counters();
        play(
            &mut rig,
            &format!(
                "c: SET statement_timeout = 0 => 0
                 a: BEGIN => 0
                 a: UPDATE t SET n = 1 WHERE id = 1 => 1
                 b: BEGIN => 0
                 b: UPDATE t SET n = n * 10 WHERE id = 1 RETURNING n => waits
                 c: UPDATE t SET n = 3 WHERE id = 1 => waits
                 +400
                 a: {end} => 0
                 b: ? => {answer}
                 +499
                 c: ? => waits
                 +1
                 c: ? => 55P03: canceling statement due to lock timeout"
            ),
        );
    }
}

#[test]
fn after_a_wait_a_statement_still_reads_its_own_snapshot() {
    let mut rig = counters();
    play(
        &mut rig,
        "a: BEGIN => 0
         a: SELECT id FROM t WHERE id = 1 FOR UPDATE => 1
         b: UPDATE t x SET n = 7 + (SELECT count(*) FROM t y WHERE y.id > x.id - 9)::integer WHERE id <> 2 => waits
         c: UPDATE t SET n = 100 WHERE id = 2 => 1
         c: UPDATE t SET n = 200 WHERE id = 2 => 1
         a: COMMIT => 0
         b: ? => 2
         b: SELECT id, n FROM t ORDER BY id => 1|10;2|200;3|10",
    );
}

#[test]
fn an_error_gives_the_locks_back_before_the_rollback() {
    let mut rig = counters();
    play(
        &mut rig,
        "a: BEGIN => 0
         a: UPDATE t SET n = 1 WHERE id = 1 => 1
         b: UPDATE t SET n = 2 WHERE id = 1 RETURNING n => waits
         a: SELECT 1 / 0 => 22012: division by zero
         b: ? => 2
         a: SELECT 1 => 25P02: current transaction is aborted, commands ignored until end of transaction block
         a: ROLLBACK => 0",
    );
}

#[test]
fn the_session_whose_check_finds_the_cycle_is_its_victim() {
    let mut rig = counters();
    play(
        &mut rig,
        "a: BEGIN => 0
         a: UPDATE t SET n = 1 WHERE id = 1 => 1
         b: BEGIN => 0
         b: UPDATE t SET n = 2 WHERE id = 2 => 1
         a: UPDATE t SET n = 1 WHERE id = 2 => waits
         +50
         b: UPDATE t SET n = 2 WHERE id = 1 => waits
         +149
         a: ? => waits
         +1
         a: ? => 40P01: deadlock detected
         b: ? => 1
         b: COMMIT => 0",
    );
    assert_eq!(
        events(&rig)
            .iter()
            .filter(|event| **event == DbEvent::Deadlock)
            .count(),
        1
    );
}

#[test]
fn a_key_in_doubt_is_waited_for() {
    let mut rig = counters();
    play(
        &mut rig,
        "a: BEGIN => 0
         a: INSERT INTO t (id) VALUES (7) => 1
         b: INSERT INTO t (id) VALUES (7) => waits
         c: INSERT INTO t (id) VALUES (7) ON CONFLICT (id) DO NOTHING => waits
         a: ROLLBACK => 0
         b: ? => 1
         c: ? => 0
         a: BEGIN => 0
         a: DELETE FROM t WHERE id = 7 => 1
         b: INSERT INTO t (id) VALUES (7) => waits
         a: COMMIT => 0
         b: ? => 1",
    );
}

#[test]
fn a_parent_may_change_while_it_is_referred_to_but_not_its_key() {
    let mut rig = counters();
    assert_eq!(
        rig.sql("ledger_owner#", "CREATE TABLE c (p integer REFERENCES t)"),
        "0"
    );
    assert_eq!(rig.sql("ledger_owner#", "GRANT INSERT ON c TO app"), "0");
    play(
        &mut rig,
        "a: BEGIN => 0
         a: INSERT INTO c VALUES (1) => 1
         b: UPDATE t SET n = 1 WHERE id = 1 => 1
         b: UPDATE t SET id = 9 WHERE id = 1 => waits
         a: COMMIT => 0
         b: ? => 23503: update or delete on table \"t\" violates foreign key constraint \"c_p_fkey\" on table \"c\"
         a: BEGIN => 0
         a: DELETE FROM t WHERE id = 2 => 1
         b: INSERT INTO c VALUES (2) => waits
         a: COMMIT => 0
         b: ? => 23503: insert or update on table \"c\" violates foreign key constraint \"c_p_fkey\"",
    );
}

#[test]
fn readers_see_their_snapshot_and_wait_for_nobody() {
    let mut rig = counters();
    play(
        &mut rig,
        "a: BEGIN => 0
         a: UPDATE t SET n = 5 WHERE id = 1 => 1
         a: DELETE FROM t WHERE id = 2 => 1
         b: SELECT id, n FROM t ORDER BY id => 1|0;2|0;3|0
         a: SELECT id, n FROM t ORDER BY id => 1|5;3|0
         a: COMMIT => 0
         b: SELECT id, n FROM t ORDER BY id => 1|5;3|0",
    );
}

#[test]
fn advisory_locks_outlive_transactions_but_not_sessions() {
    let mut rig = counters();
    play(
        &mut rig,
        "a: SELECT pg_try_advisory_lock(7) => t
         b: SELECT pg_try_advisory_lock(7) => f
         b: SELECT pg_advisory_unlock(7) => f
         a: SELECT pg_try_advisory_lock(7) => t
         a: SELECT pg_advisory_unlock(7) => t
         b: SELECT pg_try_advisory_lock(7) => f
         b: SELECT pg_advisory_lock(7) => waits",
    );
    rig.close("app#a");
    play(
        &mut rig,
        "b: ? => \nb: BEGIN => 0
         b: SELECT pg_try_advisory_xact_lock(8) => t
         c: SELECT pg_try_advisory_lock(8) => f
         b: COMMIT => 0
         c: SELECT pg_try_advisory_lock(8) => t",
    );
}

#[test]
fn a_schema_change_waits_for_those_who_use_the_table() {
    let mut rig = counters();
    play(
        &mut rig,
        "a: BEGIN => 0\na: UPDATE t SET n = 1 WHERE id = 1 => 1",
    );
    assert_eq!(
        rig.sql(
            "ledger_owner#",
            "ALTER TABLE t ADD CONSTRAINT small CHECK (n < 5)"
        ),
        "waits"
    );
    play(
        &mut rig,
        "b: SELECT n FROM t WHERE id = 1 => waits\na: COMMIT => 0\nb: ? => 1",
    );
    assert_eq!(rig.shown("ledger_owner#"), "0");
    play(
        &mut rig,
        "b: UPDATE t SET n = 9 WHERE id = 1 => 23514: new row for relation \"t\" violates check constraint \"small\"",
    );
}

#[test]
fn a_closed_session_leaves_nothing_behind() {
    let mut rig = counters();
    play(
        &mut rig,
        "a: BEGIN => 0
         a: UPDATE t SET n = 1 WHERE id = 1 => 1
         b: UPDATE t SET n = n + 2 WHERE id = 1 RETURNING n => waits",
    );
    rig.close("app#a");
    play(&mut rig, "b: ? => 2");
}

#[test]
fn connections_are_bounded_and_some_are_kept_for_superusers() {
    let config = DbConfig {
        max_connections: 4,
        superuser_reserved: 2,
        ..DbConfig::default()
    };
    let mut rig = Rig::on(Database::new(bare(""), config));
    let mut open = |role: &str| {
        rig.db
            .open(role, rig.limits)
            .map_err(|error| error.sqlstate().map(str::to_owned))
    };
    let full = Err(Some("53300".to_owned()));
    assert!(open("app").is_ok() && open("app").is_ok());
    assert_eq!(open("app"), full);
    assert!(open("postgres").is_ok() && open("postgres").is_ok());
    assert_eq!(open("postgres"), full);
}

#[test]
fn one_session_has_one_request_at_a_time() {
    let mut rig = counters();
    play(
        &mut rig,
        "a: BEGIN => 0\na: UPDATE t SET n = 1 WHERE id = 1 => 1\nb: UPDATE t SET n = 1 WHERE id = 1 => waits",
    );
    let id = rig.submit("app#b", Request::Commit);
    let answer = rig.take("app#b").unwrap();
    assert!(
        matches!(answer, Err(DbError::Server { sqlstate, .. }) if sqlstate == "08P01"),
        "{id:?}"
    );
}

#[test]
fn a_parameter_of_another_type_is_refused() {
    let mut rig = Rig::new(super::rig::image());
    rig.begin("a");
    let wrong = rig.run("a", "allocation_get", &[Value::Int(1)]);
    assert!(
        wrong.starts_with("42804: parameter $1 is of type uuid"),
        "{wrong}"
    );
    rig.rollback("a");
    assert!(rig.run("a", "allocation_get", &[]).starts_with("08P01"));
    assert!(rig.run("a", "no_such_file", &[]).starts_with("26000"));
}
