//! One run under two rule sets: simulated once, evaluated twice, judged twice, compared alert by alert.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use alerts::rules::EvalError;
use chaos::{
    judge::{self, AlertOutcome, Aspect, Examination, Firing, RunVerdict},
    scenario::{MILLISECOND, Plan, SECOND},
};

use super::{
    Row, Rules, Run,
    incidents::{self, Context, Incident},
    judged::{self, Effect, Meaning},
    texts::{Identity, Which},
};
use crate::{
    books::Books,
    exit::Error,
    inputs::Inputs,
    jobs::Job,
    observe, pipeline,
    report::{Expected, Verdict},
};

/// Both sides of something: OLD, then NEW.
type Both<T> = [T; 2];

/// Runs one scenario with one seed under both rule sets.
///
/// # Errors
/// SQL that cannot be run, or a fault of the simulation itself.
pub fn one(inputs: &Inputs, job: &Job, rules: Both<&Rules>) -> Result<Run, Error> {
    let mut books = Books::default();
    let plan = Arc::new(books.measure("plan", || job.scenario.compile(job.seed)));
    let recording = pipeline::record(&plan, inputs, &mut books)?;
    let observed = books
        .measure("scrapes", || observe::observe(&recording, plan.duration))
        .map_err(Error::Internal)?;
    let evaluated = books.measure("rules", || {
        rules.map(|rules| {
            let (store, schedule) = (observed.ingest.store(), &observed.schedule);
            let evaluation = rules.set.evaluate_until_failure(store, schedule);
            (observe::firings(&evaluation.timeline), evaluation.failures)
        })
    });
    // The judge reads the recording alone: its memory and the samples' are not needed at the same time.
    drop(observed);
    let [(old, old_failed), (new, new_failed)] = evaluated;
    let mut run = if old_failed.is_empty() && new_failed.is_empty() {
        books.measure("judge", || {
            let examination = judge::examine(&plan, &recording);
            compared(&plan, &examination, [old, new], rules)
        })
    } else {
        not_evaluated(&plan, [old_failed, new_failed])
    };
    run.took = (plan.duration as f64 / 1e9, books.total().as_secs_f64());
    Ok(run)
}

/// An alert that was not evaluated must not read as one that was silent, so nothing of the run is compared.
fn not_evaluated(plan: &Plan, failed: Both<Vec<EvalError>>) -> Run {
    let [old, new] = failed;
    let sides = [(Which::Old, old), (Which::New, new)];
    let failed = sides
        .into_iter()
        .flat_map(|(which, errors)| errors.into_iter().map(move |error| (which, error)));
    let failed: Vec<(Which, EvalError)> = failed.collect();
    let reasons = failed.iter().map(|(which, error)| {
        let at = observe::nanos(error.t_ms) as f64 / SECOND as f64;
        format!(
            "not evaluated under {} at second {at}: {error}",
            which.name()
        )
    });
    let reasons = reasons.collect();
    Run {
        failed,
        ..Run::unknown(&plan.scenario.name, plan.seed, reasons)
    }
}

fn compared(
    plan: &Plan,
    examination: &Examination,
    firings: Both<Vec<Firing>>,
    rules: Both<&Rules>,
) -> Run {
    let verdicts = [0, 1].map(|side| judge::judge(plan, examination, &firings[side]));
    let mut by_alert: BTreeMap<Identity, Both<Vec<Firing>>> = BTreeMap::new();
    for (side, firings) in firings.into_iter().enumerate() {
        for firing in firings {
            by_alert.entry(identity(&firing)).or_default()[side].push(firing);
        }
    }
    let known: Vec<&Identity> = by_alert.keys().collect();
    let mut rows = Vec::new();
    for (alert, [old, new]) in &by_alert {
        let context = context(alert, examination, rules);
        let mut incidents = incidents::incidents(old, new, &context);
        let [before, after] = [0, 1].map(|side: usize| {
            let verdict: &RunVerdict = &verdicts[side];
            judged::about(&verdict.findings, alert, &known)
        });
        let meaning = judged::meaning(&before, &after, &incidents);
        incidents.retain(|incident| !incident.changes.is_empty());
        let changed = matches!(meaning.effect, Effect::Fixes | Effect::Breaks);
        if !incidents.is_empty() || changed {
            let names = old
                .iter()
                .chain(new)
                .filter_map(|firing| firing.labels.get("alertname"));
            let names = names.cloned().collect();
            rows.push(row(plan, (alert, names), &verdicts, meaning, incidents));
        }
    }
    let fired = by_alert.iter().map(|(alert, sides)| {
        let names = sides
            .iter()
            .flatten()
            .filter_map(|firing| firing.labels.get("alertname"));
        (alert.clone(), names.cloned().collect())
    });
    let fired = fired.collect();
    finished(plan, verdicts, rows, fired)
}

fn finished(
    plan: &Plan,
    verdicts: Both<RunVerdict>,
    rows: Vec<Row>,
    fired: BTreeMap<Identity, BTreeSet<String>>,
) -> Run {
    let unknown = unknown(&verdicts, &rows);
    let verdict = if rows.iter().any(|row| row.effect == Effect::Breaks) {
        Verdict::Fail
    } else if unknown.is_empty() {
        Verdict::Pass
    } else {
        Verdict::Unknown
    };
    let [old, new] = verdicts.map(|verdict| {
        let findings = judged::of_alerts(&verdict.findings);
        let worst = findings
            .map(|finding| pipeline::weigh(finding.verdict))
            .max();
        Some(worst.unwrap_or(Verdict::Pass))
    });
    Run {
        verdict,
        old,
        new,
        rows,
        fired,
        ..Run::unknown(&plan.scenario.name, plan.seed, unknown)
    }
}

/// Why something could not be judged: the run did not reach what it must, or the judge lacked data under NEW, or under OLD where
/// that leaves a difference open.
fn unknown(verdicts: &Both<RunVerdict>, rows: &[Row]) -> Vec<String> {
    let mut reasons = Vec::new();
    for finding in &verdicts[1].findings {
        let lacks = finding.verdict == judge::Verdict::Unknown;
        match finding.aspect {
            Aspect::Invariant => {}
            Aspect::Reach => reasons.push(finding.message.clone()),
            _ if lacks => reasons.push(format!("{}: {}", finding.subject, finding.message)),
            _ => {}
        }
    }
    for row in rows.iter().filter(|row| row.effect == Effect::Unknown) {
        for said in &row.findings {
            if said.under == Which::Old && said.verdict == Verdict::Unknown {
                reasons.push(format!("{} under OLD: {}", row.alert, said.message));
            }
        }
    }
    reasons
}

fn identity(firing: &Firing) -> Identity {
    Identity {
        id: firing.alert_id.clone(),
        branch: firing.branch.clone(),
    }
}

fn context(alert: &Identity, examination: &Examination, rules: Both<&Rules>) -> Context {
    let symptoms = examination.symptoms.iter().filter(|symptom| {
        let branch =
            alert.branch.is_none() || symptom.branch.is_none() || symptom.branch == alert.branch;
        symptom.alert == alert.id && branch
    });
    let spans = symptoms.flat_map(|symptom| &symptom.intervals);
    let labels = rules.iter().flat_map(|rules| rules.texts.labels(alert));
    Context {
        rule_labels: labels.collect(),
        symptoms: spans
            .map(|(from, to)| (from / MILLISECOND, to / MILLISECOND))
            .collect(),
    }
}

fn row(
    plan: &Plan,
    (alert, names): (&Identity, BTreeSet<String>),
    verdicts: &Both<RunVerdict>,
    meaning: Meaning,
    incidents: Vec<Incident>,
) -> Row {
    let scenario = &plan.scenario;
    let of_alert = scenario.must.iter().filter(|must| *must.alert == *alert.id);
    let of_branch = of_alert.clone().filter(|must| {
        must.branch.is_none()
            || alert.branch.is_none()
            || must.branch.as_deref() == alert.branch.as_deref()
    });
    let budget = of_branch.map(|must| must.budget as f64 / SECOND as f64);
    let budget_s = budget.reduce(f64::max);
    let may = scenario.may.iter().any(|may| **may == *alert.id);
    let expected = match budget_s {
        Some(_) => Expected::Must,
        // Another branch of it must fire; this one may, for a symptom of its own.
        None if may || of_alert.count() > 0 => Expected::May,
        None => Expected::Never,
    };
    let detect = |side: usize| {
        let same = |outcome: &&AlertOutcome| outcome.id == alert.id;
        let outcome = verdicts[side].alerts.iter().find(same)?;
        outcome
            .time_to_detect_s
            .filter(|_| expected == Expected::Must)
    };
    Row {
        scenario: scenario.name.to_string(),
        seed: plan.seed,
        alert: alert.clone(),
        names,
        expected,
        budget_s,
        old_detect_s: detect(0),
        new_detect_s: detect(1),
        effect: meaning.effect,
        fault: meaning.fault,
        findings: meaning.findings,
        incidents,
    }
}
