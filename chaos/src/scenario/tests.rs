//! Every shipped scenario parses and compiles; what is wrong with a file is said with its place; a plan is a function of its seed.

use std::{fs, path::Path};

use super::*;

fn shipped() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the scenarios")
        .map(|file| file.expect("an entry").path())
        .collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path).expect("text");
        Scenario::parse(&path.display().to_string(), &text)
            .unwrap_or_else(|errors| panic!("{errors:#?}"))
    };
    files.iter().map(read).collect()
}

#[test]
fn every_shipped_scenario_compiles_to_a_plan_that_its_seed_decides() {
    let scenarios = shipped();
    assert!(scenarios.len() >= 11, "{}", scenarios.len());
    for scenario in scenarios {
        let plan = scenario.compile(1);
        assert_eq!(plan, scenario.compile(1), "{}", scenario.name);
        assert_ne!(
            plan.operations,
            scenario.compile(2).operations,
            "{}",
            scenario.name
        );
        assert!(!plan.operations.is_empty());
        assert!(plan.operations.is_sorted_by_key(|op| op.at));
        assert!(plan.faults.is_sorted_by_key(|fault| fault.at));
        for (index, op) in plan.operations.iter().enumerate() {
            assert!(op.at < plan.duration);
            if let Some(of) = op.kind.of() {
                assert!(
                    (of as usize) < index,
                    "{}: {index} follows {of}",
                    scenario.name
                );
                assert!(matches!(
                    plan.operations[of as usize].kind,
                    PlannedKind::Hold { .. }
                ));
            }
        }
        let counted = |wanted: fn(&PlannedKind) -> bool| {
            plan.operations.iter().filter(|op| wanted(&op.kind)).count()
        };
        println!(
            "{:32} {:6} operations, {:5} holds, {:5} confirms, {:5} releases, {:5} cancels, {:4} faults",
            scenario.name,
            plan.operations.len(),
            counted(|kind| matches!(kind, PlannedKind::Hold { .. })),
            counted(|kind| matches!(kind, PlannedKind::Confirm { .. })),
            counted(|kind| matches!(kind, PlannedKind::Release { .. })),
            counted(|kind| matches!(kind, PlannedKind::Cancel { .. })),
            plan.faults.len(),
        );
    }
}
