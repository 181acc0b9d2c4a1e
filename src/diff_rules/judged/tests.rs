//! Findings of both sides, and what they mean together.

use super::*;
use crate::diff_rules::Span;

fn finding(aspect: Aspect, verdict: Judged, fired_s: Option<u64>) -> JudgeFinding {
    JudgeFinding {
        verdict,
        subject: "A-1".into(),
        aspect,
        branch: None,
        fired_at_ms: fired_s.map(|second| second * 1_000),
        message: format!("{aspect:?} {verdict:?}"),
    }
}

/// An incident in which the sides fire at these seconds.
fn incident(old: Option<f64>, new: Option<f64>) -> Incident {
    let side = |fired_at_s| Side {
        fired_at_s,
        resolved_at_s: None,
        firings: vec![Span {
            labels: BTreeMap::new(),
            pending_at_s: fired_at_s,
            fired_at_s,
            resolved_at_s: None,
        }],
    };
    Incident {
        changes: [].into(),
        fires_later_s: None,
        resolves_later_s: None,
        labels: Vec::new(),
        old: old.map(side),
        new: new.map(side),
    }
}

/// Findings under OLD and NEW, and what they mean.
type Row = (Vec<JudgeFinding>, Vec<JudgeFinding>, Effect, Option<Fault>);

#[test]
fn an_expectation_that_old_met_and_new_does_not_is_broken() {
    use Aspect::{Detection, Justification, Resolution};
    use Judged::{Fail, Unknown};
    let missed = || finding(Detection, Fail, None);
    let late = || finding(Detection, Fail, Some(50));
    let alarm = |at| finding(Justification, Fail, Some(at));
    let stuck = |at| finding(Resolution, Fail, Some(at));
    let open = || finding(Detection, Unknown, None);
    let rows: [Row; 17] = [
        (vec![], vec![], Effect::Ok, None),
        (vec![], vec![missed()], Effect::Breaks, Some(Fault::Missed)),
        (vec![], vec![late()], Effect::Breaks, Some(Fault::Late)),
        (
            vec![],
            vec![alarm(50)],
            Effect::Breaks,
            Some(Fault::FalseAlarm),
        ),
        (
            vec![],
            vec![stuck(50)],
            Effect::Breaks,
            Some(Fault::Resolution),
        ),
        (vec![missed()], vec![], Effect::Fixes, Some(Fault::Missed)),
        (
            vec![alarm(10)],
            vec![],
            Effect::Fixes,
            Some(Fault::FalseAlarm),
        ),
        // Late is as unmet as missed.
        (
            vec![late()],
            vec![missed()],
            Effect::StillFails,
            Some(Fault::Missed),
        ),
        // The same incident, however often it pages; another incident is another false alarm.
        (
            vec![alarm(10)],
            vec![alarm(50), alarm(50)],
            Effect::StillFails,
            Some(Fault::FalseAlarm),
        ),
        (
            vec![alarm(10)],
            vec![alarm(50), alarm(90)],
            Effect::Breaks,
            Some(Fault::FalseAlarm),
        ),
        // Other expectations are judged by themselves.
        (
            vec![missed()],
            vec![alarm(50)],
            Effect::Breaks,
            Some(Fault::FalseAlarm),
        ),
        (vec![], vec![open()], Effect::Unknown, None),
        (vec![open()], vec![], Effect::Ok, None),
        (
            vec![open()],
            vec![missed()],
            Effect::Unknown,
            Some(Fault::Missed),
        ),
        (
            vec![late()],
            vec![open()],
            Effect::Unknown,
            Some(Fault::Late),
        ),
        // OLD did not fire there, so it did not resolve either.
        (
            vec![missed()],
            vec![stuck(90)],
            Effect::StillFails,
            Some(Fault::Resolution),
        ),
        // OLD fired where it had to; that NEW fires elsewhere too, and stays, is NEW's doing.
        (
            vec![],
            vec![stuck(90)],
            Effect::Breaks,
            Some(Fault::Resolution),
        ),
    ];
    let incidents = [incident(Some(10.0), Some(50.0)), incident(None, Some(90.0))];
    for (old, new, effect, fault) in rows {
        let [before, after] = [&old, &new].map(|findings| findings.iter().collect::<Vec<_>>());
        let meaning = meaning(&before, &after, &incidents);
        assert_eq!(
            (meaning.effect, meaning.fault),
            (effect, fault),
            "{old:?} → {new:?}"
        );
        assert_eq!(
            meaning.findings.is_empty(),
            effect == Effect::Ok,
            "{old:?} → {new:?}"
        );
    }
}

#[test]
fn the_findings_that_tell_come_from_the_side_that_has_them() {
    let (old, new) = (
        finding(Aspect::Detection, Judged::Fail, None),
        finding(Aspect::Detection, Judged::Unknown, None),
    );
    let said = |old: &[&JudgeFinding], new: &[&JudgeFinding]| -> Vec<Which> {
        meaning(old, new, &[])
            .findings
            .iter()
            .map(|said| said.under)
            .collect()
    };
    assert_eq!(said(&[], &[&old]), [Which::New]);
    assert_eq!(said(&[&old], &[]), [Which::Old]);
    assert_eq!(said(&[&new], &[&old]), [Which::Old, Which::New]);
}

#[test]
fn a_finding_belongs_to_its_branch_or_to_all_where_nobody_has_it() {
    let alert = |branch: Option<&str>| Identity {
        id: "A-1".into(),
        branch: branch.map(str::to_owned),
    };
    let (lag, age, whole) = (alert(Some("lag")), alert(Some("age")), alert(None));
    let of = |branch: Option<&str>| JudgeFinding {
        branch: branch.map(str::to_owned),
        ..finding(Aspect::Detection, Judged::Fail, None)
    };
    let other = JudgeFinding {
        subject: "A-2".into(),
        ..of(None)
    };
    let reach = JudgeFinding {
        aspect: Aspect::Reach,
        ..of(None)
    };
    let rows: [(Option<&str>, &[&Identity], [usize; 3]); 4] = [
        (Some("lag"), &[&lag, &age], [1, 0, 1]),
        (None, &[&lag, &age], [1, 1, 1]),
        (Some("cache"), &[&lag, &age], [1, 1, 1]),
        (Some("age"), &[&lag, &whole], [1, 1, 1]),
    ];
    for (branch, known, expected) in rows {
        let findings = [of(branch), other.clone(), reach.clone()];
        let counts = [&lag, &age, &whole].map(|alert| about(&findings, alert, known).len());
        assert_eq!(counts, expected, "{branch:?}");
    }
}
