//! Replication, crashes and levers: what survives, what stays invisible, what a standby refuses.

use std::sync::Arc;

use ledger::ports::Value;

use super::super::{Costs, Database, DbConfig, Image, LogRecord, Output};
use super::rig::{Rig, bare, id, image, text};
use crate::recording::{DbEvent, RowChange};

const SCHEMA: &str = "CREATE TABLE t (id bigserial PRIMARY KEY, n integer NOT NULL DEFAULT 0);
    GRANT SELECT, INSERT, UPDATE, DELETE ON t TO app; GRANT USAGE ON SEQUENCE t_id_seq TO app;
    INSERT INTO t (n) VALUES (0), (0);";

fn pair() -> (Rig, Rig, Arc<Image>) {
    let image = bare(SCHEMA);
    let standby = Database::standby_of(image.clone(), DbConfig::default());
    (Rig::new(image.clone()), Rig::on(standby), image)
}

fn log(rig: &mut Rig) -> Vec<Arc<LogRecord>> {
    let records = rig.outputs.iter().filter_map(|output| match output {
        Output::Log(record) => Some(record.clone()),
        _ => None,
    });
    let records = records.collect();
    rig.outputs.clear();
    records
}

const ALL: &str = "SELECT id, n FROM t ORDER BY id";

#[test]
fn a_standby_that_replays_the_log_reads_the_same_and_writes_nothing_until_promoted() {
    let (mut primary, mut standby, _) = pair();
    for sql in [
        "UPDATE t SET n = 1 WHERE id = 1",
        "INSERT INTO t (n) VALUES (7), (8)",
        "DELETE FROM t WHERE id = 2",
    ] {
        primary.sql("app#", sql);
    }
    assert_eq!(
        primary.sql(
            "ledger_owner#",
            "ALTER TABLE t ADD COLUMN tag text DEFAULT 'x'"
        ),
        "0"
    );
    primary.sql("app#", "UPDATE t SET tag = 'y' WHERE id = 3");
    let records = log(&mut primary);
    assert_eq!(
        records
            .iter()
            .map(|record| record.lsn())
            .collect::<Vec<_>>(),
        [1, 2, 3, 4, 5]
    );
    assert_eq!(
        standby.db.apply(&records[1]),
        Err("record 2 does not follow 0".into())
    );
    for record in &records {
        standby.db.apply(record).unwrap();
    }
    standby.db.apply(&records[0]).unwrap();
    let both = "SELECT id, n, tag FROM t ORDER BY id";
    assert_eq!(standby.sql("app#", both), primary.sql("app#", both));
    assert_eq!(standby.sql("app#", "SELECT pg_is_in_recovery()"), "t");
    for (sql, command) in [
        ("INSERT INTO t (n) VALUES (1)", "INSERT"),
        ("SELECT id FROM t FOR UPDATE", "SELECT FOR UPDATE"),
        ("DELETE FROM t", "DELETE"),
    ] {
        assert_eq!(
            standby.sql("app#", sql),
            format!("25006: cannot execute {command} in a read-only transaction")
        );
    }
    assert_eq!(standby.db.promote(), 2);
    assert_eq!(
        standby.sql(
            "app#",
            "SELECT (SELECT timeline_id FROM pg_control_checkpoint()), pg_is_in_recovery()"
        ),
        "2|f"
    );
    assert_eq!(
        standby.sql("app#", "INSERT INTO t (n) VALUES (1) RETURNING id"),
        "5"
    );
    let after = log(&mut standby);
    assert_eq!((after[0].lsn(), after[0].commit.timeline), (6, 2));
}

#[test]
fn a_synchronous_commit_is_invisible_and_keeps_its_locks_until_acknowledged() {
    let (mut primary, _, _) = pair();
    primary.db.set_synchronous(true);
    primary.sql("app#a", "BEGIN");
    primary.sql("app#a", "UPDATE t SET n = 5 WHERE id = 1");
    assert_eq!(primary.commit("app#a"), "waits");
    assert_eq!(primary.sql("app#b", "SELECT n FROM t WHERE id = 1"), "0");
    assert_eq!(
        primary.sql("app#c", "UPDATE t SET n = n + 1 WHERE id = 1 RETURNING n"),
        "waits"
    );
    primary.pass(400);
    assert_eq!(primary.shown("app#a"), "waits");
    assert_eq!(log(&mut primary).len(), 1);
    primary.db.acknowledge(1);
    primary.collect();
    assert_eq!(primary.shown("app#a"), "0");
    // The waiter's own commit waits in its turn; statement_timeout does not bound that.
    assert_eq!(primary.shown("app#c"), "waits");
    primary.pass(5_000);
    assert_eq!(primary.shown("app#c"), "waits");
    primary.db.acknowledge(2);
    primary.collect();
    assert_eq!(primary.shown("app#c"), "6");
}

#[test]
fn a_commit_whose_client_went_away_is_in_doubt_and_happens_all_the_same() {
    let (mut primary, _, _) = pair();
    primary.db.set_synchronous(true);
    assert_eq!(
        primary.sql("app#a", "UPDATE t SET n = 5 WHERE id = 1"),
        "waits"
    );
    primary.close("app#a");
    assert!(
        primary
            .outputs
            .contains(&Output::Event(DbEvent::CommitInDoubt))
    );
    assert_eq!(primary.sql("app#b", "SELECT n FROM t WHERE id = 1"), "0");
    primary.db.acknowledge(1);
    assert_eq!(primary.sql("app#b", "SELECT n FROM t WHERE id = 1"), "5");
}

#[test]
fn a_crash_keeps_what_is_in_the_log_and_nothing_else() {
    let (mut primary, _, _) = pair();
    primary.sql("app#a", "BEGIN");
    primary.sql("app#a", "UPDATE t SET n = 9 WHERE id = 1");
    primary.sql("app#b", "UPDATE t SET n = 1 WHERE id = 2");
    primary.sql("app#b", "SELECT pg_try_advisory_lock(1)");
    primary.db.set_synchronous(true);
    assert_eq!(
        primary.sql("app#b", "INSERT INTO t (n) VALUES (3)"),
        "waits"
    );
    primary.db.crash_recover();
    primary.db.set_synchronous(false);
    let mut after = Rig::on(primary.db);
    assert_eq!(after.db.sessions(), 0);
    assert_eq!(after.sql("app#", ALL), "1|0;2|1;3|3");
    assert_eq!(after.sql("app#", "SELECT pg_try_advisory_lock(1)"), "t");
    assert_eq!(after.sql("app#", "UPDATE t SET n = 2 WHERE id = 1"), "1");
}

#[test]
fn a_shut_down_server_answers_those_under_way_with_57p01() {
    let (mut primary, _, _) = pair();
    primary.sql("app#a", "BEGIN");
    primary.sql("app#a", "UPDATE t SET n = 9 WHERE id = 1");
    assert_eq!(
        primary.sql("app#b", "UPDATE t SET n = 8 WHERE id = 1"),
        "waits"
    );
    primary.db.terminate_all();
    primary.collect();
    assert_eq!(
        primary.shown("app#b"),
        "57P01: terminating connection due to administrator command"
    );
    assert_eq!(
        primary.shown("app#a"),
        "waits",
        "an idle session is only closed"
    );
    assert_eq!(Rig::on(primary.db).sql("app#", ALL), "1|0;2|0");
}

#[test]
fn a_base_backup_holds_what_is_committed_and_goes_on_from_there() {
    let (mut primary, _, _) = pair();
    primary.sql("app#a", "UPDATE t SET n = 1 WHERE id = 1");
    primary.sql("app#a", "BEGIN");
    primary.sql("app#a", "UPDATE t SET n = 2 WHERE id = 1");
    let mut backup = Rig::on(primary.db.base_backup());
    primary.outputs.clear();
    assert_eq!(backup.sql("app#", ALL), "1|1;2|0");
    primary.commit("app#a");
    for record in log(&mut primary) {
        backup.db.apply(&record).unwrap();
    }
    assert_eq!(backup.sql("app#", ALL), "1|2;2|0");
}

#[test]
fn a_full_disk_fails_writes_only() {
    let (mut primary, _, _) = pair();
    primary.db.set_disk_full(true);
    assert!(
        primary
            .sql("app#", "UPDATE t SET n = 1")
            .starts_with("53100")
    );
    assert_eq!(primary.sql("app#", ALL), "1|0;2|0");
    primary.db.set_disk_full(false);
    assert_eq!(primary.sql("app#", "UPDATE t SET n = 1"), "2");
}

#[test]
fn a_commit_shows_each_row_once_before_and_after() {
    let (mut primary, _, _) = pair();
    for sql in [
        "BEGIN",
        "UPDATE t SET n = 1 WHERE id = 1",
        "UPDATE t SET n = 2 WHERE id = 1",
        "INSERT INTO t (n) VALUES (5)",
        "DELETE FROM t WHERE n = 5",
    ] {
        primary.sql("app#", sql);
    }
    primary.commit("app#");
    let commit = primary.outputs.iter().find_map(|output| match output {
        Output::Committed(commit) => Some(commit.clone()),
        _ => None,
    });
    let row = |n: i64| -> Option<Arc<[Value]>> { Some([Value::Int(1), Value::Int(n)].into()) };
    let want = [RowChange {
        table: "t".into(),
        before: row(0),
        after: row(2),
    }];
    let commit = commit.unwrap();
    assert_eq!(commit.rows, want);
    assert_eq!((&*commit.role, commit.lsn, commit.timeline), ("app", 1, 1));
}

fn cost(rig: &mut Rig, name: &str, statement: &str, params: &[Value]) -> u64 {
    rig.outputs.clear();
    assert!(!rig.run(name, statement, params).contains(": "));
    let costs = rig.outputs.iter().filter_map(|output| match output {
        Output::Done { cost_ns, .. } => Some(*cost_ns),
        _ => None,
    });
    costs.sum()
}

#[test]
fn a_missing_index_is_slow_and_in_the_end_too_slow() {
    let mut rig = Rig::new(image());
    let seed = "SET app.tenant_id = '00000000-0000-0000-0000-00000000000a';
        INSERT INTO properties (property_id, name) VALUES ('00000000-0000-0000-0000-000000000001', 'p');
        INSERT INTO room_types (room_type_id, property_id, name) VALUES ('00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-000000000001', 't')";
    assert_eq!(rig.sql("postgres#", seed), "1");
    for number in 0..400u128 {
        rig.begin("a");
        let insert = [
            id(1000 + number),
            id(2),
            super::rig::day(1),
            super::rig::day(2),
            text("web"),
            Value::Int(60),
        ];
        assert!(!rig.run("a", "hold_insert", &insert).contains(": "));
        rig.commit("a");
    }
    let ask = [Value::Int(10)];
    let quick = cost(&mut rig, "ledger_worker#", "sweep_candidates", &ask);
    assert_eq!(
        rig.sql(
            "ledger_owner#",
            "DROP INDEX room_allocations_held_expiry_idx"
        ),
        "0"
    );
    let slow = cost(&mut rig, "ledger_worker#", "sweep_candidates", &ask);
    assert!(
        slow > quick + 400 * Costs::default().row_ns / 2,
        "{quick} {slow}"
    );
    rig.db.set_costs(Costs {
        row_ns: 3_000_000,
        ..Costs::default()
    });
    assert_eq!(
        rig.run("ledger_worker#", "sweep_candidates", &ask),
        "57014: canceling statement due to statement timeout"
    );
}
