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

/// A scenario without mistakes, of which each row changes one line.
const SOUND: &str = r#"name = "sound"
hypothesis = "Nothing is wrong with this file."
duration = "20m"
heal = "12m"
liveness = "2m"
must = [{ alert = "RESV-INV-004", budget = "5m45s" }]
may = ["ORD-003"]
breaks = [1]

[workload]
kind = "steady"
per_minute = 60
hold_per_mille = 400

[reach]
holds = 10

[[faults]]
kind = "broker-refuses"
at = "2m"
for = "6m"

[[faults]]
kind = "crash"
host = "db-1"
at = "3m"
"#;

/// Replaces `from` by `to` in the sound file; the errors must be these `line:column: part`.
#[track_caller]
fn refused(from: &str, to: &str, expected: &[&str]) {
    assert!(SOUND.contains(from), "{from}");
    let text = SOUND.replacen(from, to, 1);
    let errors = Scenario::parse("scenarios/sound.toml", &text).expect_err(&text);
    let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let fits = shown.len() == expected.len()
        && shown.iter().zip(expected).all(|(shown, expected)| {
            let (place, part) = expected.split_once(' ').expect("a place and a part");
            shown.starts_with(&format!("scenarios/sound.toml:{place} ")) && shown.contains(part)
        });
    assert!(fits, "expected {expected:#?}\nfound {shown:#?}");
}

#[test]
fn a_sound_file_says_what_it_says() {
    let scenario = Scenario::parse("scenarios/sound.toml", SOUND).expect("sound");
    assert_eq!(
        (scenario.heal, scenario.hold, scenario.breaks),
        (12 * MINUTE, 10 * MINUTE, vec![1])
    );
    assert_eq!(scenario.must[0].budget, 345 * SECOND);
    let spans: Vec<_> = scenario
        .faults
        .iter()
        .map(|fault| (fault.at, fault.until))
        .collect();
    assert_eq!(
        spans,
        [
            (2 * MINUTE, Some(8 * MINUTE)),
            (3 * MINUTE, Some(12 * MINUTE))
        ]
    );
    assert_eq!(scenario.reach, [("holds".into(), 10)]);
    // The catalogue's budget is the default; of two branches the longer one.
    let text = SOUND
        .replace(", budget = \"5m45s\"", "")
        .replace("RESV-INV-004", "RESV-INV-003");
    let scenario = Scenario::parse("sound.toml", &text).expect("sound");
    assert_eq!(scenario.must[0].budget, 675 * SECOND);
}

#[test]
fn what_is_unknown_is_refused_with_its_place() {
    refused(
        "liveness =",
        "livenes =",
        &["5:1: unknown key `livenes` in the scenario; known: name, "],
    );
    refused(
        "per_minute = 60",
        "per_minute = 60\nfast = true",
        &["13:1: unknown key `fast` in `workload`"],
    );
    refused(
        "for = \"6m\"",
        "for = \"6m\"\nhost = \"broker\"",
        &["22:1: unknown key `host` in `faults`"],
    );
    refused(
        "budget =",
        "bugdet =",
        &["6:35: unknown key `bugdet` in `must`"],
    );
    refused(
        "\"steady\"",
        "\"stormy\"",
        &["11:8: unknown workload `stormy`; known: healthy-day, steady"],
    );
    refused(
        "broker-refuses",
        "broker-explodes",
        &["19:8: unknown fault `broker-explodes`; known: crash, "],
    );
    refused(
        "\"db-1\"",
        "\"db-7\"",
        &["25:8: unknown host `db-7`; known: ledger-1, "],
    );
    refused(
        "RESV-INV-004",
        "RESV-INV-404",
        &["6:19: unknown alert `RESV-INV-404`; known: RESV-INV-001, "],
    );
    refused("ORD-003", "ORD-033", &["7:8: unknown alert `ORD-033`"]);
    refused(
        "budget = \"5m45s\"",
        "branch = \"lag\"",
        &["6:44: unknown branch `lag` of RESV-INV-004; known: none"],
    );
    refused(
        "holds = 10",
        "hulds = 10",
        &["16:1: unknown reach counter `hulds`; known: requests, "],
    );
    refused(
        "[1]",
        "[4]",
        &["8:11: no checker for invariant 4; known: 1, 2, 3"],
    );
    refused(
        "kind = \"broker-refuses\"",
        "kind = \"slow-insert\"\nby = \"1s\"\ntable = \"outbax\"",
        &["21:9: unknown table `outbax`"],
    );
    refused(
        "kind = \"broker-refuses\"",
        "kind = \"slow-statement\"\nby = \"1s\"\nstatement = \"hold\"",
        &["21:13: unknown statement `hold`"],
    );
    refused(
        "kind = \"broker-refuses\"",
        "kind = \"sql\"\nrole = \"root\"\nsql = [\"SELECT 1\"]\nrepair = [\"SELECT 2\"]",
        &["20:8: unknown role `root`"],
    );
    refused(
        "kind = \"broker-refuses\"",
        "kind = \"release\"\nstatements = { hold = \"SELECT 1\" }",
        &[
            "20:14: `statements` changes nothing",
            "20:16: unknown statement `hold`",
        ],
    );
}

#[test]
fn what_cannot_come_true_is_refused_with_its_place() {
    refused(
        "may = [\"ORD-003\"]",
        "may = [\"RESV-INV-004\"]",
        &["7:8: RESV-INV-004 both must and may fire"],
    );
    refused(
        "[\"ORD-003\"]",
        "[\"ORD-003\", \"ORD-003\"]",
        &["7:19: ORD-003 stands twice in `may`"],
    );
    refused(
        "\"5m45s\" }",
        "\"5m45s\" }, { alert = \"RESV-INV-004\" }",
        &["6:55: RESV-INV-004 stands twice in `must`"],
    );
    refused(
        "\"5m45s\"",
        "\"4m59s\"",
        &["6:44: a budget of 4m59s cannot be met: RESV-INV-004 waits 5m before it fires"],
    );
    refused(
        "[1]",
        "[1, 1]",
        &["8:14: invariant 1 stands twice in `breaks`"],
    );
    refused(
        "for = \"6m\"",
        "for = \"11m\"",
        &["18:1: the fault ends at 13m, after `heal` at 12m"],
    );
    refused(
        "for = \"6m\"",
        "for = \"19m\"",
        &["18:1: the fault ends at 21m, after the run of 20m"],
    );
    refused(
        "\"2m\"\nmust",
        "\"9m\"\nmust",
        &["4:8: healed at 12m with a liveness bound of 9m: the run of 20m is over before"],
    );
    refused(
        "name = \"sound\"",
        "name = \"noise\"",
        &["1:8: `noise` is not the file's name; expected `sound`"],
    );
    refused(
        "heal = \"12m\"\n",
        "",
        &["22:1: `crash` needs `for = \"<duration>\"` or `for = \"ever\"`, or the scenario `heal`"],
    );
    refused(
        "kind = \"broker-refuses\"",
        "kind = \"crash\"\nhost = \"db-1\"",
        &["24:1: the fault begins while another one has db-1 down"],
    );
    refused(
        "kind = \"broker-refuses\"",
        "kind = \"deploy\"",
        &["21:7: `deploy` is momentary and takes no `for`"],
    );
    refused(
        "kind = \"broker-refuses\"",
        "kind = \"partition\"\nbetween = [\"db-1\", \"db-1\"]",
        &["20:11: `between` names the same host twice"],
    );
    refused(
        "kind = \"broker-refuses\"",
        "kind = \"partition\"\nbetween = [\"db-1\"]",
        &["20:11: `between` needs two hosts, found 1"],
    );
    refused(
        "kind = \"broker-refuses\"",
        "kind = \"hold-lock\"\nhold = \"4s\"\nevery = \"2s\"",
        &["21:9: `every` (2s) must be at least `hold` (4s)"],
    );
    let healthy = SOUND
        .split("[[faults]]")
        .next()
        .expect("the top")
        .to_owned();
    let errors = Scenario::parse("sound.toml", &healthy).expect_err("must without fault");
    assert_eq!(
        errors[0].to_string(),
        "sound.toml:6:9: RESV-INV-004 must fire, but nothing is broken: there is no fault"
    );
}

#[test]
fn values_of_the_wrong_shape_are_refused_with_their_place() {
    refused(
        "duration = \"20m\"",
        "duration = 20",
        &["3:12: `duration` of the scenario: expected a string, found integer"],
    );
    refused(
        "\"20m\"",
        "\"20 minutes\"",
        &["3:12: `duration` of the scenario: `20 minutes` is no duration"],
    );
    refused(
        "hypothesis = \"Nothing is wrong with this file.\"\n",
        "",
        &["1:1: the scenario needs `hypothesis`"],
    );
    refused(
        "per_minute = 60",
        "per_minute = 0",
        &["12:14: `per_minute` of `workload`: 0 is not in 1..=60000"],
    );
    refused(
        "holds = 10",
        "holds = -1",
        &["16:9: a minimum: -1 is not in 1.."],
    );
    refused("host = \"db-1\"\n", "", &["23:1: `faults` needs `host`"]);
    refused("[1]", "[1", &["10:1: missing comma between array elements"]);
    refused(
        "[\"ORD-003\"]",
        "\"ORD-003\"",
        &["7:7: `may` of the scenario: expected a list, found string"],
    );
    // Never only the first.
    let text = SOUND
        .replace("liveness =", "livenes =")
        .replace("db-1", "db-7")
        .replace("ORD-003", "ORD-033")
        .replace("[1]", "[4]");
    let errors = Scenario::parse("sound.toml", &text).expect_err("four mistakes");
    let lines: Vec<usize> = errors.iter().map(|error| error.line).collect();
    assert_eq!(lines, [5, 7, 8, 25]);
}

fn scenario(name: &str) -> Scenario {
    shipped()
        .into_iter()
        .find(|scenario| &*scenario.name == name)
        .expect("shipped")
}

#[test]
fn a_healthy_day_is_as_large_as_it_says() {
    let plan = scenario("healthy-day").compile(3);
    let counted = |wanted: fn(&PlannedKind) -> bool| {
        plan.operations.iter().filter(|op| wanted(&op.kind)).count()
    };
    let holds = counted(|kind| matches!(kind, PlannedKind::Hold { .. }));
    let confirms = counted(|kind| matches!(kind, PlannedKind::Confirm { .. }));
    assert!(
        plan.operations.len() > 104_000 && holds > 24_000,
        "{} {holds}",
        plan.operations.len()
    );
    assert!(
        (580..=700).contains(&(confirms * 1000 / holds)),
        "{confirms} of {holds}"
    );
    // The evening's busiest hour has many times the traffic of the night's quietest.
    let by_hour = |hour: u64| {
        plan.operations
            .iter()
            .filter(|op| op.at / (60 * MINUTE) == hour)
            .count()
    };
    assert!(
        by_hour(19) > 8 * by_hour(3),
        "{} {}",
        by_hour(19),
        by_hour(3)
    );
    let strays = plan.operations.iter().filter(|op| {
        let of = op.kind.of().map(|of| plan.operations[of as usize].tenant);
        of.is_some_and(|owner| owner != op.tenant)
    });
    assert!(strays.count() > 100);
    let deploys = plan
        .faults
        .iter()
        .filter(|fault| matches!(fault.kind, FaultKind::Deploy { .. }));
    assert_eq!(deploys.count(), 2);
}

#[test]
fn races_start_within_50_ms_and_either_side_may_be_first() {
    let plan = scenario("last-room-race").compile(3);
    let holds: Vec<_> = plan
        .operations
        .iter()
        .filter(|op| matches!(op.kind, PlannedKind::Hold { .. }) && op.client != Client::Guests)
        .collect();
    let races: Vec<_> = holds.chunks(2).map(|pair| (pair[0], pair[1])).collect();
    assert_eq!(races.len(), 240);
    for (first, second) in &races {
        let (PlannedKind::Hold { stay: one, .. }, PlannedKind::Hold { stay: other, .. }) =
            (first.kind, second.kind)
        else {
            panic!("holds only")
        };
        assert_eq!(one, other);
        assert!(second.at - first.at <= 50 * MILLISECOND && first.client != second.client);
    }
    let walk_in_first = races
        .iter()
        .filter(|(first, _)| first.client == Client::Desk)
        .count();
    assert!((60..=180).contains(&walk_in_first), "{walk_in_first}");
}

#[test]
fn locks_are_laid_on_nights_that_are_about_to_be_sold_one_after_the_other() {
    let plan = scenario("lock-contention").compile(3);
    assert!(plan.faults.len() >= 50, "{}", plan.faults.len());
    for pair in plan.faults.windows(2) {
        assert!(
            pair[0].until.is_some_and(|until| until <= pair[1].at),
            "{pair:?}"
        );
    }
    for fault in &plan.faults {
        let FaultKind::HoldLock {
            room_type, night, ..
        } = fault.kind
        else {
            panic!("{fault:?}")
        };
        let until = fault.until.expect("an end");
        let hit = plan.operations.iter().any(|op| {
            op.at >= fault.at && op.at < until && matches!(op.kind, PlannedKind::Hold { stay, .. } if stay.room_type == room_type && stay.arrival == night)
        });
        assert!(hit, "{fault:?}");
    }
}

#[test]
fn leaving_operations_or_faults_out_changes_nothing_else() {
    let scenario = scenario("telemetry-scrape-loss");
    let whole = scenario.compile(5);
    let mut fewer = scenario.clone();
    fewer.faults.truncate(1);
    let without = fewer.compile(5);
    assert_eq!(
        (whole.operations, whole.fixtures),
        (without.operations, without.fixtures)
    );
    let json = serde_json::to_string(&whole.faults).expect("json");
    assert_eq!(
        serde_json::from_str::<Vec<PlannedFault>>(&json).expect("faults"),
        whole.faults
    );
}
