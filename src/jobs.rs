//! Which runs a command asks for, and doing them: in parallel, with progress, artefacts as each ends, and a report in order.
//!
//! Invariant: a run that breaks off (a panic, a fault of the simulation) is reported as unknown with its seed and its replay
//! command beside the others, and the command then ends as an internal error: never as a pass.

use std::{collections::BTreeMap, num::NonZero, thread};

use chaos::{recording::Recording, scenario::Scenario};

use crate::{
    artefacts::Store,
    bundle::{Header, PROGRAM},
    exit::Error,
    inputs::{self, Inputs, quote},
    pipeline,
    progress::Progress,
    report::{Finding, Report, Run, Verdict, text::Style},
    runner,
};

/// One run to do.
#[derive(Clone, Debug)]
pub struct Job {
    /// The scenario.
    pub scenario: Scenario,
    /// Its file's text, for the bundle.
    pub text: String,
    /// The seed.
    pub seed: u64,
}

/// How runs are done.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where artefacts go, if anywhere.
    pub store: Option<Store>,
    /// No progress.
    pub quiet: bool,
    /// Colours of the progress.
    pub style: Style,
    /// Flags that name the inputs again, for `run` and for `replay`.
    pub flags: [String; 2],
}

/// The runs of some scenarios (all, if none is named) under some seeds: seeds within scenarios.
///
/// # Errors
/// A name that there is not.
pub fn plan(inputs: &Inputs, names: &[String], seeds: &[u64]) -> Result<Vec<Job>, Error> {
    let mut jobs = Vec::new();
    for known in inputs.select(names)? {
        jobs.extend(seeds.iter().map(|&seed| Job {
            scenario: known.scenario.clone(),
            text: known.text.clone(),
            seed,
        }));
    }
    Ok(jobs)
}

/// The run that a bundle recorded.
///
/// # Errors
/// The bundle's scenario is not one, which only an edited bundle can cause.
pub fn of_bundle(header: &Header) -> Result<Job, Error> {
    Ok(Job {
        scenario: inputs::scenario(&format!("{}.toml", header.scenario), &header.scenario_text)?,
        text: header.scenario_text.clone(),
        seed: header.seed,
    })
}

/// Does all jobs; the flag says whether any of them broke off.
///
/// # Errors
/// An input that a run refuses.
pub fn run(inputs: &Inputs, jobs: &[Job], options: &Options) -> Result<(Report, bool), Error> {
    let progress = Progress::new(jobs.len(), options.quiet, options.style);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let work = |job: &&Job| {
        let (run, recording) = one(inputs, job, options)?;
        keep(inputs, job, options, &run, &recording)?;
        Ok(run)
    };
    let results = runner::run_all(jobs, threads, work, |job, result| {
        if let Ok((run, _)) = ended(job, result.clone(), options) {
            progress.finished(&run);
        }
    });
    let mut broke_off = false;
    let mut runs = Vec::with_capacity(results.len());
    for (job, result) in jobs.iter().zip(results) {
        let (run, broken) = ended(job, result, options)?;
        broke_off |= broken;
        runs.push(run);
    }
    Ok((Report::new(runs), broke_off))
}

/// The report of a run, however it ended, and whether it broke off.
fn ended(
    job: &Job,
    result: Result<Result<Run, Error>, String>,
    options: &Options,
) -> Result<(Run, bool), Error> {
    match result {
        Ok(Ok(run)) => Ok((run, false)),
        Ok(Err(Error::Internal(reason))) | Err(reason) => Ok((broken(job, &reason, options), true)),
        Ok(Err(refused)) => Err(refused),
    }
}

/// Does one job; gives its report and its recording.
///
/// # Errors
/// An input that the run refuses.
pub fn one(inputs: &Inputs, job: &Job, options: &Options) -> Result<(Run, Recording), Error> {
    let (mut run, recording) = pipeline::run(&job.scenario, job.seed, inputs)?;
    run.replay = replay_command(job, options);
    Ok((run, recording))
}

/// Keeps the artefacts of a run, where they are kept.
///
/// # Errors
/// A disk that does not take them.
pub fn keep(
    inputs: &Inputs,
    job: &Job,
    options: &Options,
    run: &Run,
    recording: &Recording,
) -> Result<(), Error> {
    let Some(store) = &options.store else {
        return Ok(());
    };
    let header = Header {
        commit: PROGRAM.to_owned(),
        scenario: run.scenario.clone(),
        scenario_text: job.text.clone(),
        seed: job.seed,
        rules_sha256: inputs.rules_sha256.clone(),
        ledger_sha256: inputs.ledger_sha256.clone(),
        recording_sha256: recording.sha256().to_owned(),
        recording_bytes: recording.bytes().len() as u64,
    };
    store.write_run(run, &header, recording)
}

/// The command that shows a run again.
fn replay_command(job: &Job, options: &Options) -> String {
    let [run_flags, replay_flags] = &options.flags;
    match &options.store {
        Some(store) => {
            let bundle = store.bundle(&job.scenario.name, job.seed);
            format!(
                "firedrill replay {}{replay_flags}",
                quote(&bundle.display().to_string())
            )
        }
        None => format!(
            "firedrill run {} --seed {}{run_flags}",
            job.scenario.name, job.seed
        ),
    }
}

/// What is reported of a run that broke off. It left no bundle, so it can only be run again.
fn broken(job: &Job, panic: &str, options: &Options) -> Run {
    Run {
        scenario: job.scenario.name.to_string(),
        seed: job.seed,
        verdict: Verdict::Unknown,
        alerts: Vec::new(),
        findings: vec![Finding {
            verdict: Verdict::Unknown,
            subject: "internal error".into(),
            message: panic.to_owned(),
        }],
        reach: BTreeMap::new(),
        sim_seconds: 0.0,
        cpu_seconds: 0.0,
        recording_sha256: String::new(),
        parts: Vec::new(),
        replay: replay_command(
            job,
            &Options {
                store: None,
                ..options.clone()
            },
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{exit, report};

    fn job() -> Job {
        let text = include_str!("../scenarios/cache-down.toml");
        Job {
            scenario: inputs::scenario("cache-down.toml", text).expect("parses"),
            text: text.into(),
            seed: 9,
        }
    }

    fn options(store: Option<Store>) -> Options {
        let flags = [
            " --scenarios s --rules r".to_owned(),
            " --rules r".to_owned(),
        ];
        Options {
            store,
            quiet: true,
            style: Style::default(),
            flags,
        }
    }

    #[test]
    fn a_run_that_breaks_off_is_unknown_with_its_replay_command_and_an_input_that_it_refuses_ends_all()
     {
        let run = report::tests::run("cache-down", 9);
        let passed = ended(&job(), Ok(Ok(run.clone())), &options(None));
        assert_eq!(passed, Ok((run, false)));
        for result in [
            Err("why".to_owned()),
            Ok(Err(Error::Internal("why".into()))),
        ] {
            let (run, broken) = ended(&job(), result, &options(None)).expect("reported");
            assert!(broken);
            assert_eq!(
                (run.verdict, &*run.findings[0].message),
                (Verdict::Unknown, "why")
            );
            assert_eq!(
                run.replay,
                "firedrill run cache-down --seed 9 --scenarios s --rules r"
            );
        }
        let refused = ended(
            &job(),
            Ok(Err(Error::Input("line 3".into()))),
            &options(None),
        );
        assert_eq!(refused.expect_err("refused").code(), exit::USAGE);
    }

    #[test]
    fn a_kept_bundle_is_what_replays_a_run() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path()).expect("opened");
        let bundle = store.bundle("cache-down", 9).display().to_string();
        assert_eq!(
            replay_command(&job(), &options(Some(store))),
            format!("firedrill replay {bundle} --rules r")
        );
    }
}
