//! `firedrill check rules`: rule files → findings → exit code.
//!
//! Invariant: files that are no rules are refused whole, with every error; only findings at or above `--fail-on` end with another
//! code than 0.

mod github;
mod sarif;

use std::{
    fmt::Write as _,
    fs,
    io::{self, IsTerminal},
    path::PathBuf,
};

use alerts::{
    lint::{self, Contract, Finding, Report, Settings, Severity},
    rules::{self, RuleError, parse_duration},
};
use clap::ValueEnum;
use serde_json::json;

use crate::{
    cli::{self, Color},
    contract,
    exit::{self, Error},
    inputs,
    report::text::Style,
};

/// Arguments of the command.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rule files; a folder stands for its *.yml and *.yaml. The built-in rules if none is named.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What the targets of a job export, as one of them answers to a scrape; may be given more than once.
    #[arg(long, value_name = "JOB=FILE")]
    metrics: Vec<String>,
    /// Checks against the metrics of the reference ledger; so are the built-in rules.
    #[arg(long)]
    reference: bool,
    /// Time between scrapes.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = interval)]
    scrape_interval: i64,
    /// Time between evaluations of a group that names no interval.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = interval)]
    evaluation_interval: i64,
    /// The least severity that ends with exit code 3.
    #[arg(long, value_enum, default_value_t, value_name = "SEVERITY")]
    fail_on: FailOn,
    /// Form of the report on standard output.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// When to use colour; `auto`: on a terminal, unless NO_COLOR is set.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FailOn {
    Error,
    #[default]
    Warning,
    Info,
    Never,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: each finding with its line and a caret.
    #[default]
    Text,
    /// For programs: docs/check-rules.schema.json.
    Json,
    /// Static Analysis Results Interchange Format 2.1.0, for code scanning.
    Sarif,
    /// Annotations of a GitHub workflow, at most ten of a kind.
    Github,
}

impl FailOn {
    fn reached(self, findings: &[Finding]) -> bool {
        let least = match self {
            FailOn::Error => Severity::Error,
            FailOn::Warning => Severity::Warning,
            FailOn::Info => Severity::Info,
            FailOn::Never => return false,
        };
        findings.iter().any(|finding| finding.severity >= least)
    }
}

fn interval(text: &str) -> Result<i64, String> {
    match parse_duration(text) {
        Ok(ms) if ms > 0 => Ok(ms),
        Ok(_) => Err("must be above 0".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs the command; answers the exit code.
///
/// # Errors
/// Files that are no rules or no exposition, all of them; a set without a rule.
pub fn run(args: &Args) -> Result<u8, Error> {
    let (sources, mut errors) = match args.paths.is_empty() {
        true => (inputs::builtin_rules(), Vec::new()),
        false => {
            let (sources, errors) = rules::read(&args.paths);
            (sources, errors.iter().map(RuleError::to_string).collect())
        }
    };
    let contract = contract(args).map_err(|more| errors.extend(more)).ok();
    let settings = Settings {
        contract: contract.flatten(),
        scrape_interval_ms: args.scrape_interval,
        evaluation_interval_ms: args.evaluation_interval,
    };
    let checked = lint::check(&sources, &settings);
    let report = checked.map_err(|more| errors.extend(more.iter().map(RuleError::to_string)));
    let report = match report {
        Ok(report) if errors.is_empty() => report,
        _ => return Err(Error::Input(errors.join("\n"))),
    };
    if report.rules == 0 {
        let files: Vec<&str> = sources.iter().map(|(file, _)| &**file).collect();
        return Err(Error::Input(format!(
            "no rule stands in {}: there is nothing to check",
            files.join(", ")
        )));
    }
    cli::print(&match args.format {
        Format::Text => text(&report, args.color.style(io::stdout().is_terminal())),
        Format::Json => json_report(&report),
        Format::Sarif => sarif::render(&report),
        Format::Github => github::render(&report),
    })?;
    Ok(match args.fail_on.reached(&report.findings) {
        true => exit::LINT,
        false => exit::PASS,
    })
}

/// What the rules may count on; nothing is known where nothing is named.
fn contract(args: &Args) -> Result<Option<Contract>, Vec<String>> {
    let reference = args.reference || args.paths.is_empty();
    if !reference && args.metrics.is_empty() {
        return Ok(None);
    }
    let mut out = if reference {
        contract::reference()
    } else {
        Contract::default()
    };
    let mut errors = Vec::new();
    for named in &args.metrics {
        let Some((job, file)) = named
            .split_once('=')
            .filter(|(job, file)| !job.is_empty() && !file.is_empty())
        else {
            errors.push(format!(
                "--metrics {named}: expected JOB=FILE, such as `shop=metrics.txt`"
            ));
            continue;
        };
        match fs::read_to_string(file) {
            Ok(text) => {
                if let Err(error) = out.declare_exposition(job, &text) {
                    errors.push(format!("{file}: {error}"));
                }
            }
            Err(error) => errors.push(format!("{file}: {error}")),
        }
    }
    match errors.is_empty() {
        true => Ok(Some(out)),
        false => Err(errors),
    }
}

fn count(report: &Report, severity: Severity) -> usize {
    let findings = report.findings.iter();
    findings
        .filter(|finding| finding.severity == severity)
        .count()
}

fn text(report: &Report, style: Style) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        let color = match finding.severity {
            Severity::Error => "31",
            Severity::Warning => "33",
            Severity::Info => "36",
        };
        let shown = finding.to_string();
        let word = format!("{}[{}]", finding.severity, finding.lint);
        let _ = writeln!(
            out,
            "{}\n",
            shown.replacen(&word, &style.paint(color, &word), 1)
        );
    }
    let _ = writeln!(
        out,
        "rules {}, errors {}, warnings {}, infos {}, silenced by comments {}",
        report.rules,
        count(report, Severity::Error),
        count(report, Severity::Warning),
        count(report, Severity::Info),
        report.silenced
    );
    if !report.skipped.is_empty() {
        let _ = writeln!(
            out,
            "not looked for, since it is not known what the services export (--metrics JOB=FILE): {}",
            report.skipped.join(", ")
        );
    }
    out
}

fn json_report(report: &Report) -> String {
    let report = json!({
        "rules": report.rules,
        "findings": report.findings,
        "silenced": report.silenced,
        "skipped": report.skipped,
    });
    format!("{report:#}\n")
}
