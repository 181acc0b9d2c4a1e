//! Tables of firings under two rule sets: what belongs together, and how it differs. Each is read from both sides.

use super::*;

/// Series, then seconds of pending, firing and resolved; 0 stands for no end.
type Row<'a> = (&'a str, u64, u64, u64);

/// Labels by `name=value`, divided by commas.
fn firings(rows: &[Row<'_>]) -> Vec<Firing> {
    let firing = |(labels, pending, fired, resolved): &Row<'_>| {
        let labels = labels.split(',').filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.split_once('=').expect("name=value"));
        Firing {
            alert_id: "A".into(),
            branch: None,
            labels: labels
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            pending_at_ms: pending * 1_000,
            fired_at_ms: fired * 1_000,
            resolved_at_ms: Some(resolved * 1_000).filter(|end| *end > 0),
        }
    };
    rows.iter().map(firing).collect()
}

fn context(symptoms: &[(u64, u64)]) -> Context {
    Context {
        rule_labels: ["severity", "alert_id"].map(str::to_owned).into(),
        symptoms: symptoms
            .iter()
            .map(|(from, to)| (from * 1_000, to * 1_000))
            .collect(),
    }
}

fn shown(incident: &Incident) -> String {
    let side = |side: &Option<Side>| {
        side.as_ref()
            .map_or("-".to_owned(), |side| side.fired_at_s.to_string())
    };
    let mut words = vec![format!("{}/{}", side(&incident.old), side(&incident.new))];
    words.extend(incident.changes.iter().map(|change| format!("{change:?}")));
    words.extend(incident.fires_later_s.map(|by| format!("fires {by:+}")));
    words.extend(
        incident
            .resolves_later_s
            .map(|by| format!("resolves {by:+}")),
    );
    words.extend(incident.labels.iter().map(|label| {
        let [old, new] = [&label.old, &label.new].map(|values| {
            values
                .iter()
                .map(|value| &**value)
                .collect::<Vec<_>>()
                .join("|")
        });
        format!("{}:{old}>{new}", label.name)
    }));
    words.join(" ")
}

/// The other side's word for each change.
fn turned(incident: &Incident) -> BTreeSet<Change> {
    use Change::*;
    let turned = |change: &Change| match change {
        New => Missing,
        Missing => New,
        Earlier => Later,
        Later => Earlier,
        ResolvesEarlier => ResolvesLater,
        ResolvesLater => ResolvesEarlier,
        MorePages => FewerPages,
        FewerPages => MorePages,
        Labels => Labels,
    };
    incident.changes.iter().map(turned).collect()
}

fn check(old: &[Row<'_>], new: &[Row<'_>], symptoms: &[(u64, u64)], expected: &[&str]) {
    let (old, new, context) = (firings(old), firings(new), context(symptoms));
    let found = incidents(&old, &new, &context);
    let lines: Vec<String> = found.iter().map(shown).collect();
    assert_eq!(lines, expected, "{old:#?}\n{new:#?}");
    let back = incidents(&new, &old, &context);
    let back: Vec<_> = back
        .iter()
        .map(|incident| incident.changes.clone())
        .collect();
    assert_eq!(
        back,
        found.iter().map(turned).collect::<Vec<_>>(),
        "from the other side"
    );
}

#[test]
fn each_kind_of_difference_is_seen() {
    let old = &[("i=a,severity=P1", 100, 400, 700)][..];
    let rows: [(&[Row<'_>], &str); 10] = [
        (old, "400/400"),
        (&[], "400/- Missing"),
        (
            &[("i=a,severity=P1", 100, 220, 700)],
            "400/220 Earlier fires -180",
        ),
        (
            &[("i=a,severity=P1", 100, 550, 700)],
            "400/550 Later fires +150",
        ),
        (
            &[("i=a,severity=P1", 100, 400, 640)],
            "400/400 ResolvesEarlier resolves -60",
        ),
        (
            &[("i=a,severity=P1", 100, 400, 900)],
            "400/400 ResolvesLater resolves +200",
        ),
        (&[("i=a,severity=P1", 100, 400, 0)], "400/400 ResolvesLater"),
        (
            &[("i=a,severity=P2", 100, 400, 700)],
            "400/400 Labels severity:P1>P2",
        ),
        (
            &[("i=a,severity=P1,team=x", 100, 400, 700)],
            "400/400 Labels team:>x",
        ),
        (
            &[("i=a,severity=P2", 130, 430, 760)],
            "400/430 Later ResolvesLater Labels fires +30 resolves +60 severity:P1>P2",
        ),
    ];
    for (new, expected) in rows {
        check(old, new, &[], &[expected]);
    }
    check(&[], &[("i=a", 100, 100, 130)], &[], &["-/100 New"]);
    check(&[], &[], &[(0, 1_000)], &[]);
}

#[test]
fn when_a_condition_became_true_is_no_difference_by_itself() {
    check(
        &[("i=a", 100, 400, 700)],
        &[("i=a", 250, 400, 700)],
        &[],
        &["400/400"],
    );
}

#[test]
fn one_firing_that_falls_apart_pages_more_often() {
    let old = &[("", 100, 400, 1_000)][..];
    let new = &[
        ("", 100, 400, 500),
        ("", 600, 700, 800),
        ("", 850, 900, 1_000),
    ][..];
    check(old, new, &[], &["400/400 MorePages"]);
    let flaps = &[
        ("", 100, 200, 300),
        ("", 400, 450, 500),
        ("", 600, 700, 800),
    ][..];
    let lasts = &[("", 100, 200, 550), ("", 600, 650, 800)][..];
    check(
        flaps,
        lasts,
        &[],
        &[
            "200/200 ResolvesLater FewerPages resolves +50",
            "700/650 Earlier fires -50",
        ],
    );
}

#[test]
fn incidents_are_paired_in_time_and_not_by_their_number() {
    // The first one is gone; the second one is the same.
    check(
        &[("", 100, 400, 700), ("", 5_000, 5_300, 5_600)],
        &[("", 5_000, 5_300, 5_600)],
        &[],
        &["400/- Missing", "5300/5300"],
    );
    // One more before, one later after.
    check(
        &[("", 5_000, 5_300, 5_600)],
        &[("", 100, 400, 700), ("", 5_000, 5_420, 5_600)],
        &[],
        &["-/400 New", "5300/5420 Later fires +120"],
    );
}

#[test]
fn firings_that_do_not_overlap_belong_together_when_they_begin_near_each_other() {
    let old = &[("", 100, 100, 130)][..];
    check(
        old,
        &[("", 250, 250, 280)],
        &[],
        &["100/250 Later ResolvesLater fires +150 resolves +150"],
    );
    check(
        old,
        &[("", 401, 401, 430)],
        &[],
        &["100/- Missing", "-/401 New"],
    );
    // The nearest one, not the first one; what is left over stays alone.
    check(
        &[("", 100, 100, 130), ("", 320, 320, 340)],
        &[("", 350, 350, 400)],
        &[],
        &[
            "100/- Missing",
            "320/350 Later ResolvesLater fires +30 resolves +60",
        ],
    );
    // What ends as the other begins does not overlap.
    check(
        &[("", 100, 100, 500)],
        &[("", 500, 500, 600)],
        &[],
        &["100/- Missing", "-/500 New"],
    );
    // Two of the same side are two incidents.
    check(
        &[("", 100, 100, 130), ("", 150, 150, 180)],
        &[("", 100, 100, 130), ("", 150, 150, 180)],
        &[],
        &["100/100", "150/150"],
    );
}

#[test]
fn what_falls_into_one_symptom_is_one_incident() {
    let (old, new) = (&[("", 100, 100, 130)][..], &[("", 900, 900, 960)][..]);
    check(
        old,
        new,
        &[(90, 950)],
        &["100/900 Later ResolvesLater fires +800 resolves +830"],
    );
    check(
        old,
        new,
        &[(90, 140), (890, 950)],
        &["100/- Missing", "-/900 New"],
    );
}

#[test]
fn series_are_compared_one_by_one_and_then_summed_up() {
    let both = &[("i=a", 100, 200, 500), ("i=b", 120, 300, 500)][..];
    let rows: [(&[Row<'_>], &str); 6] = [
        // The first firing is the same, one series is not.
        (
            &[("i=a", 100, 200, 500), ("i=b", 120, 450, 500)],
            "200/200 Later fires +150",
        ),
        // The first one is later by what the other one is not.
        (
            &[("i=a", 100, 320, 500), ("i=b", 120, 300, 500)],
            "200/300 Later fires +100",
        ),
        // The whole is earlier by what it is, although another series moves more.
        (
            &[("i=a", 50, 100, 500), ("i=b", 120, 490, 500)],
            "200/100 Earlier Later fires -100",
        ),
        // They change places: neither instant of the whole moves.
        (
            &[("i=b", 100, 200, 500), ("i=a", 120, 300, 500)],
            "200/200 Earlier Later fires +100",
        ),
        // One series less.
        (
            &[("i=a", 100, 200, 500)],
            "200/200 FewerPages Labels i:a|b>a",
        ),
        // Summed up before: one page without the label.
        (&[("", 100, 200, 500)], "200/200 FewerPages Labels i:a|b>"),
    ];
    for (new, expected) in rows {
        check(both, new, &[], &[expected]);
    }
}

#[test]
fn differences_that_cancel_out_are_seen() {
    // The second of three moves; first and last stay.
    let old = &[("", 0, 100, 200), ("", 210, 300, 400), ("", 410, 500, 600)][..];
    let new = &[("", 0, 100, 200), ("", 210, 350, 400), ("", 410, 500, 600)][..];
    check(old, new, &[(0, 600)], &["100/100 Later fires +50"]);
    // One series pages more often, the other one less often.
    let old = &[
        ("i=a", 0, 100, 600),
        ("i=a", 0, 200, 600),
        ("i=b", 0, 150, 600),
    ][..];
    let new = &[
        ("i=a", 0, 100, 600),
        ("i=b", 0, 150, 600),
        ("i=b", 0, 200, 600),
    ][..];
    check(old, new, &[], &["100/100 MorePages FewerPages"]);
    // The same values, combined otherwise.
    let old = &[
        ("i=a,severity=P1", 0, 100, 600),
        ("i=b,severity=P2", 0, 100, 600),
    ][..];
    let new = &[
        ("i=a,severity=P2", 0, 100, 600),
        ("i=b,severity=P1", 0, 100, 600),
    ][..];
    check(
        old,
        new,
        &[],
        &["100/100 Labels i:a|b>a|b severity:P1|P2>P1|P2"],
    );
}
