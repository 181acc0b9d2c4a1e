//! `firedrill mutate rules`: arguments → rules that pass → mutants over their recordings and tests → report → exit code.

use std::{
    io::{IsTerminal, Write},
    num::NonZero,
    thread,
};

use alerts::{
    mutate::{self as mutants, Mutants},
    rules::RuleError,
};
use clap::{Args, Subcommand, ValueEnum};

use super::{Chosen, Color, InputArgs, print, say_memory};
use crate::{
    exit::{self, Error},
    inputs::{self, Inputs, Sources},
    jobs::Job,
    mutate_rules::{self, Audience, Demands, Report, Run, Tests, markdown, text},
    observe::INTERVAL_MS,
    pipeline,
    progress::Progress,
    report::Verdict,
    runner,
    test_rules::{self, disk::Disk, percent},
};

/// What is changed.
#[derive(Debug, Subcommand)]
pub enum Mutate {
    /// Changes one thing in each rule at a time, and says which mistakes no scenario and no unit test would notice. Each scenario
    /// is simulated once.
    Rules(MutateRules),
}

/// Rules, and who should notice.
#[derive(Debug, Args)]
pub struct MutateRules {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    inputs: InputArgs,
    /// Unit-test files of the rules (promtool's), instead of those in the folder `tests` of the rules; may be given more than once.
    #[arg(long, value_name = "FILE")]
    tests: Vec<String>,
    /// Fails when scenarios and unit tests together notice less than this share.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    min_score: Option<f64>,
    /// Fails when a survivor has no comment `# firedrill survives <operator>: <reason>`.
    #[arg(long)]
    explained: bool,
    /// Shows each mutant to every scenario and test, and names all that notice it; otherwise only the first.
    #[arg(long)]
    all: bool,
    /// Form of the report on standard output.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// No progress on standard error.
    #[arg(long, short)]
    quiet: bool,
    /// When to use colour; `auto`: on a terminal, unless NO_COLOR is set.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For a pull request.
    Markdown,
}

/// Mutates; answers the exit code.
pub fn rules(args: MutateRules) -> Result<u8, Error> {
    let (inputs, mutants, tests) = load(&args)?;
    let jobs = args.chosen.jobs(&inputs)?;
    if let Some(unfit) = Tests::unfit(&tests)? {
        let verdict = if unfit.failed {
            Verdict::Fail
        } else {
            Verdict::Unknown
        };
        return Ok(unproved(&unfit.reasons, verdict));
    }
    let runs = match record(&args, &inputs, &mutants, &jobs)? {
        Ok(runs) => runs,
        Err(code) => return Ok(code),
    };
    let recorded: f64 = runs.iter().map(|run| run.took.1).sum();
    let audience = Audience {
        runs,
        tests,
        all: args.all,
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let (rows, spent) = mutate_rules::show(&mutants, &audience, threads)?;
    let demands = Demands {
        min_score: args.min_score,
        explained: args.explained,
    };
    let report = Report::new(&mutants, &audience, rows, demands);
    if !args.quiet {
        let (count, spent) = (report.counts.mutants, spent.as_secs_f64());
        let _ = writeln!(
            std::io::stderr(),
            "recordings {recorded:.2} CPU s, {count} mutants {spent:.2} CPU s"
        );
        say_memory();
    }
    print(&match args.format {
        Format::Text => text::render(&report, args.color.style(std::io::stdout().is_terminal())),
        Format::Json => report.json(),
        Format::Markdown => markdown::render(&report),
    })?;
    Ok(match report.verdict {
        Verdict::Pass if !report.untrue.is_empty() => exit::LINT,
        verdict => verdict.code(),
    })
}

/// Everything that the command reads.
fn load(args: &MutateRules) -> Result<(Inputs, Mutants, Vec<Tests>), Error> {
    let sources = Sources {
        scenarios: args.chosen.scenarios_dir.clone(),
        rules: args.inputs.rules.clone(),
        ledger: args.inputs.ledger.clone(),
    };
    let inputs = Inputs::load(&sources)?;
    let place = sources.rules.as_deref();
    let named = inputs::rule_sources(place)?;
    let mutants = mutants::mutants(&named, INTERVAL_MS).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(RuleError::to_string).collect();
        Error::Input(lines.join("\n"))
    })?;
    if mutants.mutants.is_empty() {
        let place = place.map_or("built-in".into(), |place: &std::path::Path| {
            place.display().to_string()
        });
        return Err(Error::Input(format!(
            "{place}: holds no rule that could be changed"
        )));
    }
    let suites = match &args.tests[..] {
        [] => inputs::own_tests(place)?,
        files => test_rules::load(files, &Disk)?,
    };
    let tests = Tests::of(suites, &mutants.rules)?;
    Ok((inputs, mutants, tests))
}

/// Records all runs; an exit code where the rules as they are do not pass one of them.
fn record(
    args: &MutateRules,
    inputs: &Inputs,
    mutants: &Mutants,
    jobs: &[Job],
) -> Result<Result<Vec<Run>, u8>, Error> {
    let style = args.color.style(std::io::stderr().is_terminal());
    let progress = Progress::new(jobs.len(), args.quiet, style);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let work = |job: &&Job| Run::record(inputs, &mutants.rules, job);
    let results = runner::run_all(jobs, threads, work, |job, result| {
        if let Ok(Ok(Ok(run))) = result {
            let line = format!("recorded  {} seed {}", job.scenario.name, job.seed);
            progress.ended(&line, run.took);
        }
    });
    let (mut runs, mut reasons, mut worst) = (Vec::new(), Vec::new(), Verdict::Pass);
    for (job, result) in jobs.iter().zip(results) {
        match result.map_err(Error::Internal)?? {
            Ok(run) => runs.push(run),
            Err(findings) => {
                for finding in findings {
                    worst = worst.max(pipeline::weigh(finding.verdict));
                    reasons.push(format!(
                        "{} seed {}: {}: {}",
                        job.scenario.name, job.seed, finding.subject, finding.message
                    ));
                }
            }
        }
    }
    Ok(match worst {
        Verdict::Pass => Ok(runs),
        verdict => Err(unproved(&reasons, verdict)),
    })
}

/// Says why nothing was mutated.
fn unproved(reasons: &[String], verdict: Verdict) -> u8 {
    let mut err = std::io::stderr().lock();
    for reason in reasons {
        let _ = writeln!(err, "{reason}");
    }
    let _ = writeln!(
        err,
        "nothing was mutated: only where the rules as they are pass does a failure say something of a mistake"
    );
    verdict.code()
}
