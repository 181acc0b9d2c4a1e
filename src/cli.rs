//! The command line: arguments → one library call → exit code.
//!
//! Invariant: data goes to standard output, everything else to standard error; an input that is refused is refused before
//! anything is run or written; no way of failing ends with 0.

mod diff;
mod export;
mod mutate;

use std::{ffi::OsString, io::IsTerminal, io::Write, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    artefacts::Store,
    baseline, books, check_rules,
    exit::{self, Error},
    inputs::{Inputs, Sources},
    jobs::{self, Options},
    replay::Recorded,
    report::{Report, json, text, text::Style},
    runner, test_promql,
    test_rules::{self, TestRules},
};

/// A fire drill for a service and its alarms: breaks the ledger in simulated time and proves that the right alert fires in
/// time, that no other one does, and that no booking is lost or sold twice. Without a command it runs every scenario.
#[derive(Debug, Parser)]
#[command(name = "firedrill", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

const EXIT_CODES: &str = "Exit codes: 0 pass, 1 fail, 2 unknown (some check lacked data, none failed), 3 lint findings only, \
                          64 refused arguments or inputs, 70 internal error.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs scenarios and judges them.
    Run(Run),
    /// Runs a bundle's scenario again and says where it diverges from the recording.
    Replay(Replay),
    /// Writes what other tools read: a recording as OpenMetrics, scenarios as unit tests for promtool.
    #[command(subcommand)]
    Export(export::Export),
    /// Looks for what is wrong without running anything.
    #[command(subcommand)]
    Check(Check),
    /// Compares versions of something over the same incidents.
    #[command(subcommand)]
    Diff(diff::Diff),
    /// Changes something on purpose and says who notices.
    #[command(subcommand)]
    Mutate(mutate::Mutate),
    /// Runs tests that are data: of queries, of rules.
    #[command(subcommand)]
    Test(Test),
}

#[derive(Debug, Subcommand)]
enum Check {
    /// Looks for alert rules that cannot work, or not as they were meant.
    Rules(check_rules::Args),
}

#[derive(Debug, Subcommand)]
enum Test {
    /// Runs files in the language of Prometheus' own PromQL tests.
    Promql(test_promql::Args),
    /// Runs promtool's unit-test files.
    Rules(TestRules),
}

#[derive(Debug, Default, Args)]
struct Run {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Which runs.
#[derive(Debug, Args)]
struct Chosen {
    /// Scenarios by name; all of them if none is named.
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// The one seed to run.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "seeds")]
    seed: u64,
    /// Runs the seeds 1 to N.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    seeds: Option<u64>,
    /// Scenario files (*.toml) instead of the built-in ones.
    #[arg(id = "scenarios_dir", long = "scenarios", value_name = "DIR")]
    scenarios_dir: Option<PathBuf>,
}

impl Default for Chosen {
    fn default() -> Self {
        Chosen {
            scenarios: Vec::new(),
            seed: 1,
            seeds: None,
            scenarios_dir: None,
        }
    }
}

impl Chosen {
    fn jobs(&self, inputs: &Inputs) -> Result<Vec<jobs::Job>, Error> {
        let seeds: Vec<u64> = match self.seeds {
            Some(count) => (1..=count).collect(),
            None => vec![self.seed],
        };
        jobs::plan(inputs, &self.scenarios, &seeds)
    }
}

#[derive(Debug, Args)]
struct Replay {
    /// The bundle, or the folder of artefacts that it lies in.
    bundle: PathBuf,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Default, Args)]
struct InputArgs {
    /// Rule files (*.yml), a folder or one file, instead of the built-in ones.
    #[arg(long, value_name = "PATH")]
    rules: Option<PathBuf>,
    /// The ledger's SQL (bootstrap.sql, migrations/, sql/) instead of the built-in one.
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,
}

#[derive(Debug, Default, Args)]
struct OutputArgs {
    /// Form of the report on standard output.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Keeps bundle and reports of each run below this folder.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// No progress on standard error.
    #[arg(long, short)]
    quiet: bool,
    /// When to use colour; `auto`: on a terminal, unless NO_COLOR is set.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
}

/// Form of what goes to standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

impl Color {
    /// The style for a stream that is a terminal or not.
    pub(crate) fn style(self, terminal: bool) -> Style {
        let wanted =
            || terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let color = match self {
            Color::Auto => wanted(),
            Color::Always => true,
            Color::Never => false,
        };
        Style { color }
    }
}

/// The whole program; returns the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let outcome = runner::attempt(|| match Cli::try_parse_from(args) {
        Ok(cli) => dispatch(cli),
        Err(error) => Ok(clap_ended(&error)),
    });
    let outcome = outcome.unwrap_or_else(|panic| Err(Error::Internal(panic)));
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "firedrill: {error}");
        error.code()
    })
}

/// Help and version are a success; everything else that clap says is a refusal.
fn clap_ended(error: &clap::Error) -> u8 {
    let _ = error.print();
    if error.use_stderr() {
        exit::USAGE
    } else {
        exit::PASS
    }
}

fn dispatch(cli: Cli) -> Result<u8, Error> {
    match cli.command {
        None => run(Run::default()),
        Some(Command::Run(args)) => run(args),
        Some(Command::Replay(args)) => replay(args),
        Some(Command::Export(what)) => export::run(what),
        Some(Command::Check(Check::Rules(args))) => check_rules::run(&args),
        Some(Command::Diff(diff::Diff::Rules(args))) => diff::rules(args),
        Some(Command::Mutate(mutate::Mutate::Rules(args))) => mutate::rules(args),
        Some(Command::Test(Test::Promql(args))) => test_promql::run(&args),
        Some(Command::Test(Test::Rules(args))) => test_rules::run(args),
    }
}

fn run(args: Run) -> Result<u8, Error> {
    let sources = Sources {
        scenarios: args.chosen.scenarios_dir.clone(),
        rules: args.inputs.rules,
        ledger: args.inputs.ledger,
    };
    let inputs = Inputs::load(&sources)?;
    let jobs = args.chosen.jobs(&inputs)?;
    let options = args.output.options(&sources)?;
    let (mut report, broken) = jobs::run(&inputs, &jobs, &options)?;
    if args.output.format == Format::Text {
        let measured = baseline::measure().map_err(|error| Error::Internal(error.to_string()))?;
        report.baseline = Some(measured);
    }
    args.output.finish(&report, &options)?;
    Ok(if broken {
        exit::INTERNAL
    } else {
        report.verdict.code()
    })
}

fn replay(args: Replay) -> Result<u8, Error> {
    let sources = Sources {
        scenarios: None,
        rules: args.inputs.rules,
        ledger: args.inputs.ledger,
    };
    let inputs = Inputs::load(&sources)?;
    let recorded = Recorded::read(&args.bundle, &inputs)?;
    let options = args.output.options(&sources)?;
    let report = recorded.replay(&inputs, &options)?;
    args.output.finish(&report, &options)?;
    Ok(report.verdict.code())
}

impl OutputArgs {
    fn options(&self, sources: &Sources) -> Result<Options, Error> {
        Ok(Options {
            store: self.output.as_deref().map(Store::open).transpose()?,
            quiet: self.quiet,
            style: self.color.style(std::io::stderr().is_terminal()),
            flags: [sources.flags(true), sources.flags(false)],
        })
    }

    /// Prints the report, and keeps it where artefacts are kept.
    fn finish(&self, report: &Report, options: &Options) -> Result<(), Error> {
        if let Some(store) = &options.store {
            store.write_report(report)?;
        }
        let text = match self.format {
            Format::Json => json::render(report),
            Format::Text => text::render(report, self.color.style(std::io::stdout().is_terminal())),
        };
        if !self.quiet {
            say_memory();
        }
        print(&text)
    }
}

/// Says on standard error how much memory was needed.
fn say_memory() {
    if let Some(bytes) = books::peak_memory() {
        let _ = writeln!(std::io::stderr(), "peak memory {} MB", bytes / 1_000_000);
    }
}

/// Writes to standard output; who closed it has read enough, and the exit code still tells the verdict.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::Internal(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}
