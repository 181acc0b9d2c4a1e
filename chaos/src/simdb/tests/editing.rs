//! Edited copies of the ledger's files: the engine follows the edit, or refuses it with its place.

use ledger::ports::Value;

use super::rig::{Rig, day, id, load_edited, text};

fn errors(file: &str, from: &str, to: &str) -> Vec<String> {
    let edited = load_edited(|name, text| {
        if name == file {
            assert!(text.contains(from), "{file} does not hold {from}");
            text.replacen(from, to, 1)
        } else {
            text.into()
        }
    });
    edited
        .err()
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn what_is_outside_the_subset_is_refused_with_its_place() {
    let rows = [
        (
            "availability.sql",
            "ORDER BY night",
            "ORDER BI night",
            "availability.sql:5:1: syntax error at or near \"ORDER\" (42601)",
        ),
        (
            "availability.sql",
            "stop_sell\n",
            "stop_sale\n",
            "availability.sql:2:72: column \"stop_sale\" does not exist (42703)",
        ),
        (
            "availability.sql",
            "FROM",
            "INTO x FROM",
            "availability.sql:2:1: not in the simulated database's subset of SQL: a clause near `INTO x FROM",
        ),
        (
            "audit_oversold.sql",
            "JOIN",
            "LEFT JOIN",
            "audit_oversold.sql:5:",
        ),
        (
            "collect_jobs.sql",
            "job,",
            "avg(1),",
            "collect_jobs.sql:1:8: not in the simulated database's subset of SQL: the function avg()",
        ),
        (
            "hold_claim_key.sql",
            "DO NOTHING",
            "DO UPDATE SET request_hash = 'x'",
            "hold_claim_key.sql:3:1: not in the simulated database's subset of SQL: ` ON CONFLICT",
        ),
        (
            "sweep_lock.sql",
            "SKIP LOCKED",
            "SKIP LOCKED; SELECT 1",
            "sweep_lock.sql:1:1: a statement file holds exactly one statement (42601)",
        ),
        (
            "0001_schema.sql",
            "name text NOT NULL",
            "name varchar(10) NOT NULL",
            "0001_schema.sql:9:5: not in the simulated database's subset of SQL: the type VARCHAR(10)",
        ),
        (
            "0001_schema.sql",
            "CREATE TABLE rooms (",
            "CREATE UNLOGGED TABLE rooms (",
            "0001_schema.sql:19:1: not in the simulated database's subset of SQL: a clause near `UNLOGGED TABLE rooms",
        ),
        (
            "0002_isolation.sql",
            "GRANT SELECT, INSERT ON properties",
            "GRANT SELECT, INSERT ON propertys",
            "0002_isolation.sql:3:",
        ),
    ];
    let mut failures = Vec::new();
    for (file, from, to, want) in rows {
        let found = errors(file, from, to);
        if !found.iter().any(|error| error.starts_with(want)) {
            failures.push(format!("{file} with `{to}`: want {want}\n  got {found:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The ledger with one edit, furnished with one room type whose single night is sold out.
fn sold_out(file: &str, from: &str, to: &str) -> Rig {
    let image = load_edited(|name, text| {
        if name == file {
            text.replacen(from, to, 1)
        } else {
            text.into()
        }
    });
    let mut rig = Rig::new(image.unwrap());
    rig.begin("seed");
    rig.run("seed", "add_property", &[id(1), text("p")]);
    rig.run("seed", "add_room_type", &[id(2), id(1), text("t")]);
    rig.run(
        "seed",
        "add_night",
        &[id(2), day(0), Value::Int(0), Value::Int(0)],
    );
    assert_eq!(rig.commit("seed"), "0");
    rig.begin("a");
    rig
}

#[test]
fn an_edit_of_a_guard_a_check_or_a_policy_is_followed() {
    let stay = [id(2), day(0), day(1)];
    let guard = "AND held + confirmed < capacity + policy_extra";
    let check = ",\n    CONSTRAINT room_type_inventory_daily_not_oversold CHECK (held + confirmed <= capacity + policy_extra)";
    assert_eq!(
        sold_out("", "", "").run("a", "hold_reserve_nights", &stay),
        "0"
    );
    let refused =
        sold_out("hold_reserve_nights.sql", guard, "").run("a", "hold_reserve_nights", &stay);
    let want = "23514: new row for relation \"room_type_inventory_daily_2026h1\" violates check constraint \"room_type_inventory_daily_not_oversold\"";
    assert_eq!(refused, want);
    assert_eq!(
        sold_out("0001_schema.sql", check, "").run("a", "hold_reserve_nights", &stay),
        "0"
    );
    let mut both = sold_out("hold_reserve_nights.sql", guard, "");
    both.rollback("a");
    let drop = "ALTER TABLE room_type_inventory_daily DROP CONSTRAINT room_type_inventory_daily_not_oversold";
    assert_eq!(both.sql("ledger_owner#", drop), "0");
    both.begin("a");
    assert_eq!(both.run("a", "hold_reserve_nights", &stay), "2026-03-02");

    let mut closed = sold_out("", "", "");
    closed.rollback("a");
    closed.begin_as("a", Some(uuid::Uuid::from_u128(0xB)));
    assert_eq!(closed.run("a", "availability", &stay), "0");
    let mut open = sold_out(
        "0002_isolation.sql",
        "ALTER TABLE room_type_inventory_daily ENABLE ROW LEVEL SECURITY;",
        "",
    );
    open.rollback("a");
    open.begin_as("a", Some(uuid::Uuid::from_u128(0xB)));
    assert_eq!(open.run("a", "availability", &stay), "2026-03-02|0|f");
}

#[test]
fn without_a_tenant_nothing_is_read_and_nothing_written() {
    let mut rig = sold_out("", "", "");
    rig.rollback("a");
    let unset = "22P02: invalid input syntax for type uuid: \"\"";
    assert_eq!(
        rig.run("a", "availability", &[id(2), day(0), day(1)]),
        unset
    );
    let fresh = "42704: unrecognized configuration parameter \"app.tenant_id\"";
    assert_eq!(
        rig.run("b", "availability", &[id(2), day(0), day(1)]),
        fresh
    );
    assert_eq!(rig.run("b", "add_property", &[id(5), text("p")]), fresh);
}
