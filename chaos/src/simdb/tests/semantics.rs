//! What single statements do: `semantics.txt`, whose outcomes are PostgreSQL's.

use super::rig::{Rig, bare};

#[test]
fn statements_do_what_postgresql_does() {
    let mut failures = Vec::new();
    let mut statements = 0;
    let mut rig = Rig::new(bare(""));
    let mut title = "";
    let mut asked = ("", String::new());
    for line in include_str!("semantics.txt").lines() {
        if let Some(next) = line.strip_prefix("## ") {
            (rig, title) = (Rig::new(bare("")), next);
        } else if let Some(want) = line.strip_prefix("= ") {
            if asked.1 != want {
                failures.push(format!(
                    "{title}: {}\n  want {want}\n  got  {}",
                    asked.0, asked.1
                ));
            }
        } else if let Some((session, sql)) =
            line.split_once("> ").filter(|_| !line.starts_with('#'))
        {
            let name = if session.contains('#') {
                session.to_owned()
            } else {
                format!("ledger_owner#{session}")
            };
            asked = (sql, rig.sql(&name, sql));
            statements += 1;
        }
    }
    assert!(
        statements > 200,
        "{statements} statements: the file was not read"
    );
    assert!(
        failures.is_empty(),
        "{} of {statements} differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
