//! `firedrill diff rules`: arguments → both rule sets over the same runs → report → exit code.

use std::{
    io::IsTerminal,
    num::NonZero,
    path::{Path, PathBuf},
    thread,
};

use alerts::rules::RuleSet;
use clap::{Args, Subcommand, ValueEnum};

use super::{Chosen, Color, print, say_memory};
use crate::{
    diff_rules::{self, Named, Report, Rules, Run, counted, markdown, text},
    exit::{self, Error},
    inputs::{self, Inputs, Sources, quote},
    jobs::Job,
    progress::Progress,
    report::Verdict,
    runner,
};

/// What is compared.
#[derive(Debug, Subcommand)]
pub enum Diff {
    /// Shows what a change of alert rules does: which alert fires earlier, later, not at all or newly, per scenario, and whether
    /// that is still what the scenario expects. Each scenario is simulated once.
    Rules(DiffRules),
}

/// Two rule sets, and what to compare them over.
#[derive(Debug, Args)]
pub struct DiffRules {
    /// The rules as they were: rule files (*.yml), a folder or one file.
    old: PathBuf,
    /// The rules as they are to be.
    new: PathBuf,
    #[command(flatten)]
    chosen: Chosen,
    /// The ledger's SQL (bootstrap.sql, migrations/, sql/) instead of the built-in one.
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,
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

/// Compares; answers the exit code.
pub fn rules(args: DiffRules) -> Result<u8, Error> {
    let sources = Sources {
        scenarios: args.chosen.scenarios_dir.clone(),
        rules: None,
        ledger: args.ledger,
    };
    let (inputs, old, new) = load(&sources, &args.old, &args.new)?;
    let jobs = args.chosen.jobs(&inputs)?;
    let style = args.color.style(std::io::stderr().is_terminal());
    let progress = Progress::new(jobs.len(), args.quiet, style);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let work = |job: &&Job| diff_rules::one(&inputs, job, [&old, &new]);
    let results = runner::run_all(&jobs, threads, work, |job, result| {
        if let Ok(run) = ended(job, result.clone()) {
            progress.ended(&line(&run), run.took);
        }
    });
    let runs = jobs.iter().zip(results);
    let runs: Vec<Run> = runs
        .map(|(job, result)| ended(job, result))
        .collect::<Result<_, Error>>()?;
    let broke_off = runs.iter().any(|run| run.broke_off);
    let named = Named {
        old: args.old.display().to_string(),
        new: args.new.display().to_string(),
        flags: sources.flags(true),
    };
    let report = Report::new(runs, &old.texts, &new.texts, named);
    if !args.quiet {
        say_memory();
    }
    print(&match args.format {
        Format::Text => text::render(&report, args.color.style(std::io::stdout().is_terminal())),
        Format::Json => report.json(),
        Format::Markdown => markdown::render(&report),
    })?;
    Ok(if broke_off {
        exit::INTERNAL
    } else {
        report.verdict.code()
    })
}

/// Everything that the command reads. What is wrong with the rules of either side is refused together with what is wrong elsewhere.
fn load(sources: &Sources, old: &Path, new: &Path) -> Result<(Inputs, Rules, Rules), Error> {
    let loaded = (Inputs::load(sources), side("OLD", old), side("NEW", new));
    match loaded {
        (Ok(inputs), Ok(old), Ok(new)) => Ok((inputs, Rules::new(old), Rules::new(new))),
        (inputs, old, new) => {
            let errors = [old.err(), new.err(), inputs.err()];
            let errors: Vec<Error> = errors.into_iter().flatten().collect();
            let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Err(Error::Input(said.join("\n")))
        }
    }
}

/// The rules of one side; a set without rules says nothing about any change.
fn side(name: &str, path: &Path) -> Result<RuleSet, Error> {
    let refused = |reason: String| {
        let place = quote(&path.display().to_string());
        Error::Input(format!("{name} ({place}) is refused:\n{reason}"))
    };
    let (set, _) = inputs::rules(Some(path)).map_err(|error| refused(error.to_string()))?;
    match set.groups().iter().all(|group| group.rules.is_empty()) {
        true => Err(refused(format!("{}: holds no rule", path.display()))),
        false => Ok(set),
    }
}

/// A run, however it ended.
fn ended(job: &Job, result: Result<Result<Run, Error>, String>) -> Result<Run, Error> {
    match result {
        Ok(Ok(run)) => Ok(run),
        Ok(Err(Error::Internal(reason))) | Err(reason) => {
            let reasons = vec![format!("internal error: {reason}")];
            Ok(Run {
                broke_off: true,
                ..Run::unknown(&job.scenario.name, job.seed, reasons)
            })
        }
        Ok(Err(refused)) => Err(refused),
    }
}

fn line(run: &Run) -> String {
    let found = match (run.verdict, run.rows.len()) {
        (Verdict::Unknown, _) => "unknown".to_owned(),
        (_, 0) => "same".to_owned(),
        (_, rows) => counted(rows, "difference"),
    };
    format!("{found}  {} seed {}", run.scenario, run.seed)
}
