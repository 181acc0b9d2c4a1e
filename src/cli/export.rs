//! `firedrill export`: arguments → what is exported → exit code.

use std::{io::Write, num::NonZero, path::PathBuf, thread};

use clap::{Args, Subcommand};

use super::InputArgs;
use crate::{
    artefacts, books,
    exit::{self, Error},
    export::{self, Outcome, Recorded},
    inputs::{Inputs, Sources},
    jobs::{self, Job},
    pipeline, runner,
};

/// What is exported.
#[derive(Debug, Subcommand)]
pub enum Export {
    /// Writes a recording as OpenMetrics, for `promtool tsdb create-blocks-from openmetrics`.
    Openmetrics(OpenMetrics),
    /// Writes each scenario's expectation as a unit test, for `promtool test rules`.
    Tests(Tests),
}

/// One recording.
#[derive(Debug, Args)]
pub struct OpenMetrics {
    /// A scenario, which is simulated, or a bundle (the file, or the folder of artefacts that it lies in).
    #[arg(value_name = "SCENARIO|BUNDLE")]
    what: String,
    /// The seed; a bundle has its own.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    from: From,
    /// The file to write; standard output if none is named.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Any number of scenarios.
#[derive(Debug, Args)]
pub struct Tests {
    /// Scenarios by name; all of them if none is named.
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// The seed.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    from: From,
    /// The folder to make: `<scenario>.yml` for each scenario, and the rules in `rules/`.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

#[derive(Debug, Args)]
struct From {
    /// Scenario files (*.toml) instead of the built-in ones.
    #[arg(id = "scenarios_dir", long = "scenarios", value_name = "DIR")]
    scenarios: Option<PathBuf>,
    #[command(flatten)]
    inputs: InputArgs,
    /// Nothing on standard error but errors.
    #[arg(long, short)]
    quiet: bool,
}

impl From {
    fn load(&self) -> Result<Inputs, Error> {
        Inputs::load(&Sources {
            scenarios: self.scenarios.clone(),
            rules: self.inputs.rules.clone(),
            ledger: self.inputs.ledger.clone(),
        })
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    fn say_memory(&self) {
        if let Some(bytes) = books::peak_memory() {
            self.say(&format!("peak memory {} MB", bytes / 1_000_000));
        }
    }
}

/// Exports; answers the exit code.
pub fn run(export: Export) -> Result<u8, Error> {
    match export {
        Export::Openmetrics(args) => openmetrics(&args),
        Export::Tests(args) => tests(&args),
    }
}

fn openmetrics(args: &OpenMetrics) -> Result<u8, Error> {
    let inputs = args.from.load()?;
    args.output.as_deref().map_or(Ok(()), artefacts::vacant)?;
    let recorded = Recorded::find(&args.what, args.seed, &inputs)?;
    let said = export::openmetrics(&recorded, args.output.as_deref())?;
    args.from.say(&said);
    args.from.say_memory();
    Ok(exit::PASS)
}

fn tests(args: &Tests) -> Result<u8, Error> {
    let inputs = args.from.load()?;
    let jobs = jobs::plan(&inputs, &args.scenarios, &[args.seed])?;
    artefacts::vacant(&args.output)?;
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let work = |job: &&Job| export::unit_test(&inputs, job);
    let results = runner::run_all(&jobs, threads, work, |_, result| {
        if let Ok(Ok(Outcome::Written(test))) = result {
            args.from.say(&test.to_string());
        }
    });
    let (mut written, mut worst) = (Vec::new(), exit::PASS);
    for (job, result) in jobs.iter().zip(results) {
        match result.map_err(Error::Internal)?? {
            Outcome::Written(test) => written.push(*test),
            Outcome::NotPassed(verdict) => {
                let name = &job.scenario.name;
                for finding in &verdict.findings {
                    let _ = writeln!(
                        std::io::stderr(),
                        "{name} seed {}: {}: {}",
                        job.seed,
                        finding.subject,
                        finding.message
                    );
                }
                let code = pipeline::weigh(verdict.verdict).code();
                // A failure outweighs what is not known.
                worst = if worst == exit::FAIL { worst } else { code };
            }
        }
    }
    if worst != exit::PASS {
        let _ = writeln!(
            std::io::stderr(),
            "nothing was written: only a run that passes has an expectation that holds"
        );
        return Ok(worst);
    }
    export::write_tests(&args.output, &inputs, &written)?;
    args.from.say_memory();
    Ok(exit::PASS)
}
