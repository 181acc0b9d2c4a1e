//! The pipeline: scenario + seed → simulate → recording → rules → timeline → judge → verdict → report.
//!
//! Invariant: no stage looks back; each gets the value of the one before and nothing else. CPU time is booked by stage.

use std::{sync::Arc, time::Duration};

use chaos::{
    SimulateError, Simulation,
    judge::{self, RunVerdict},
    recording::Recording,
    scenario::{Plan, Scenario},
    simulate,
};

use crate::{
    books::{Books, stopwatch},
    exit::Error,
    inputs::Inputs,
    observe,
    report::{Alert, Expected, Finding, Run, Verdict},
};

/// Runs one scenario with one seed, from the plan to the report; the recording comes with it, for a bundle.
///
/// # Errors
/// SQL or a rule that cannot be run, or a fault of the simulation itself.
pub fn run(scenario: &Scenario, seed: u64, inputs: &Inputs) -> Result<(Run, Recording), Error> {
    let mut books = Books::default();
    let plan = Arc::new(books.measure("plan", || scenario.compile(seed)));
    let recording = record(&plan, inputs, &mut books)?;
    let observed = books
        .measure("scrapes", || observe::observe(&recording, plan.duration))
        .map_err(Error::Internal)?;
    let evaluated = books.measure("rules", || {
        inputs
            .rules
            .evaluate(observed.ingest.store(), &observed.schedule)
    });
    // The judge reads the recording alone: its memory and the samples' are not needed at the same time.
    drop(observed);
    let timeline = evaluated.map_err(|error| Error::Input(error.to_string()))?;
    let verdict = books.measure("judge", || {
        let examination = judge::examine(&plan, &recording);
        judge::judge(&plan, &examination, &observe::firings(&timeline))
    });
    Ok((report(&plan, verdict, &recording, books), recording))
}

/// The first stage alone: from the plan to the recording.
///
/// # Errors
/// SQL that cannot be run, or a fault of the simulation itself.
pub fn record(plan: &Arc<Plan>, inputs: &Inputs, books: &mut Books) -> Result<Recording, Error> {
    let simulation = books.split(
        "set-up",
        || simulate(plan, &inputs.schema, Some(stopwatch)),
        parts,
    );
    Ok(simulation.map_err(refused)?.recording)
}

/// What the simulation booked itself: hosts by kind, and the network.
fn parts(simulated: &Result<Simulation, SimulateError>) -> Vec<(&'static str, Duration)> {
    simulated
        .as_ref()
        .map(|simulation| simulation.parts.clone())
        .unwrap_or_default()
}

/// SQL that cannot run is an input's fault; everything else is ours.
fn refused(error: SimulateError) -> Error {
    match error {
        SimulateError::Sql(_) => Error::Input(error.to_string()),
        _ => Error::Internal(error.to_string()),
    }
}

/// The judge's verdict as it is reported.
fn report(plan: &Plan, verdict: RunVerdict, recording: &Recording, books: Books) -> Run {
    let alerts = verdict.alerts.into_iter().map(|alert| Alert {
        id: alert.id,
        expected: match alert.expected {
            judge::Expected::Must => Expected::Must,
            judge::Expected::May => Expected::May,
            judge::Expected::Never => Expected::Never,
        },
        fired_at_s: alert.fired_at_s,
        budget_s: alert.budget_s,
        resolved_at_s: alert.resolved_at_s,
        detect_s: alert.time_to_detect_s,
    });
    let findings = verdict.findings.into_iter().map(|finding| Finding {
        verdict: weigh(finding.verdict),
        subject: finding.subject,
        message: finding.message,
    });
    Run {
        scenario: plan.scenario.name.to_string(),
        seed: plan.seed,
        verdict: weigh(verdict.verdict),
        alerts: alerts.collect(),
        findings: findings.collect(),
        reach: verdict.reach,
        sim_seconds: plan.duration as f64 / 1e9,
        cpu_seconds: books.total().as_secs_f64(),
        recording_sha256: recording.sha256().to_owned(),
        parts: books.into_parts(),
        replay: String::new(),
    }
}

/// The judge's word as the program's.
pub fn weigh(verdict: judge::Verdict) -> Verdict {
    match verdict {
        judge::Verdict::Pass => Verdict::Pass,
        judge::Verdict::Unknown => Verdict::Unknown,
        judge::Verdict::Fail => Verdict::Fail,
    }
}
