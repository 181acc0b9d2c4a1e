//! Reads commands, line by line.
//!
//! Invariant: accepts what Prometheus' runner accepts. A comment counts as an empty line there and here, so it ends a block.
//! Left out: the query itself, which is looked at when it runs.

use regex::Regex;

use super::{Command, Eval, Expect, Load, MAX_STEPS, Script, ScriptError, Steps, Text, When};
use crate::labels::{Labels, NAME};
use crate::notation::{self, Values};
use crate::rules::parse_duration;

/// What stands in a line, and where.
struct Lines<'a> {
    lines: Vec<&'a str>,
    /// The next line, from 0.
    at: usize,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let lines = text.split('\n').map(str::trim);
        Lines {
            lines: lines
                .map(|line| if line.starts_with('#') { "" } else { line })
                .collect(),
            at: 0,
        }
    }

    /// The next line of a block, with its number from 1; nothing at an empty line.
    fn block(&mut self) -> Option<(usize, &'a str)> {
        let line = self.lines.get(self.at).filter(|line| !line.is_empty())?;
        self.at += 1;
        Some((self.at, line))
    }
}

fn fail<T>(line: usize, reason: impl Into<String>) -> Result<T, ScriptError> {
    Err(ScriptError {
        line,
        reason: reason.into(),
    })
}

pub(super) fn script(text: &str) -> Result<Script, ScriptError> {
    let mut lines = Lines::of(text);
    let mut commands = Vec::new();
    while lines.at < lines.lines.len() {
        let Some((number, line)) = lines.block() else {
            lines.at += 1;
            continue;
        };
        let word = line.split([' ', '\t']).next().unwrap_or_default();
        match &*word.to_lowercase() {
            "clear" => commands.push(Command::Clear),
            word if word.starts_with("load") => {
                commands.push(Command::Load(load(number, line, &mut lines)?));
            }
            word if word.starts_with("eval") => {
                commands.push(Command::Eval(Box::new(eval(number, line, &mut lines)?)));
            }
            _ => {
                return fail(
                    number,
                    format!("invalid command {line:?}: write load, clear or eval"),
                );
            }
        }
    }
    Ok(Script { commands })
}

fn duration(line: usize, what: &str, text: &str) -> Result<i64, ScriptError> {
    parse_duration(text).or_else(|reason| fail(line, format!("invalid {what}: {reason}")))
}

fn load(line: usize, text: &str, lines: &mut Lines<'_>) -> Result<Load, ScriptError> {
    let parts = text.split_once(char::is_whitespace);
    let (with_native, step) = match parts {
        Some(("load", step)) => (false, step.trim()),
        Some(("load_with_nhcb", step)) => (true, step.trim()),
        _ => {
            return fail(
                line,
                "invalid load command: write load[_with_nhcb] and a step, such as load 30s",
            );
        }
    };
    let mut load = Load {
        step_ms: duration(line, "step", step)?,
        with_native,
        ..Load::default()
    };
    let mut started: Option<usize> = None;
    while let Some((line, text)) = lines.block() {
        if let Some(start) = start_timestamps(text) {
            let labels = notation::labels(start).or_else(|error| fail(line, error.to_string()))?;
            load.started.push(labels);
            if let Some(line) = started.replace(line) {
                return fail(line, "the @st line has no sample line below it");
            }
            continue;
        }
        let (labels, values) = series(line, text)?;
        if labels.is_empty() {
            return fail(line, "a series needs a name or a label");
        }
        if let Some(line) = started.take()
            && load.started.last() != Some(&labels)
        {
            return fail(
                line,
                "the @st line and the line below it differ in their series",
            );
        }
        load.series.insert(labels, (line, values));
    }
    match started {
        Some(line) => fail(line, "the @st line has no sample line below it"),
        None => Ok(load),
    }
}

/// The series of a line that states start timestamps: `metric{labels}@st …`.
fn start_timestamps(text: &str) -> Option<&str> {
    text.split_once([' ', '\t'])?.0.strip_suffix("@st")
}

fn series(line: usize, text: &str) -> Result<(Labels, Values), ScriptError> {
    notation::series(text).or_else(|error| fail(line, error.to_string()))
}

fn steps(line: usize, from: &str, to: &str, step: &str) -> Result<Steps, ScriptError> {
    let steps = Steps {
        start_ms: duration(line, "start", from)?,
        end_ms: duration(line, "end", to)?,
        step_ms: duration(line, "step", step)?,
    };
    if steps.end_ms < steps.start_ms {
        return fail(line, format!("the end {to} is before the start {from}"));
    }
    if steps.count() > MAX_STEPS {
        let reason = format!(
            "{} steps are more than {MAX_STEPS}: take a longer step",
            steps.count()
        );
        return fail(line, reason);
    }
    Ok(steps)
}

/// The first word, and what stands behind it and the space.
fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

const EVAL_FORMS: &str = "invalid eval command: write eval instant at <time> <query>, or eval range from <time> to <time> \
                          step <duration> <query>";

fn eval(line: usize, text: &str, lines: &mut Lines<'_>) -> Result<Eval, ScriptError> {
    let (verb, rest) = word(text);
    let (kind, rest) = word(rest);
    let mut expect = Expect::default();
    match verb {
        "eval" => {}
        "eval_fail" => {}
        "eval_warn" => expect.warnings.some = true,
        "eval_info" => expect.infos.some = true,
        "eval_ordered" if kind == "instant" => expect.ordered = true,
        _ => return fail(line, EVAL_FORMS),
    }
    let (when, query) = match kind {
        "instant" => instant(line, rest)?,
        "range" => range(line, rest)?,
        _ => return fail(line, EVAL_FORMS),
    };
    if query.is_empty() {
        return fail(line, EVAL_FORMS);
    }
    let mut eval = Eval {
        line,
        query: query.to_string(),
        when,
        expect,
        written: Vec::new(),
    };
    let fails = verb == "eval_fail";
    expectations(fails, &mut eval, lines)?;
    if fails {
        eval.expect.fail.get_or_insert(Text::Any);
    }
    Ok(eval)
}

fn instant(line: usize, text: &str) -> Result<(When, &str), ScriptError> {
    let ("at", rest) = word(text) else {
        return fail(line, EVAL_FORMS);
    };
    let (at, query) = word(rest);
    Ok((When::Instant(duration(line, "time", at)?), query))
}

fn range(line: usize, text: &str) -> Result<(When, &str), ScriptError> {
    let mut rest = text;
    let mut times = [""; 3];
    for (at, keyword) in ["from", "to", "step"].into_iter().enumerate() {
        let (found, behind) = word(rest);
        if found != keyword {
            return fail(line, EVAL_FORMS);
        }
        (times[at], rest) = word(behind);
    }
    let [from, to, step] = times;
    Ok((When::Range(steps(line, from, to, step)?), rest))
}

/// The lines below an `eval`.
fn expectations(fails: bool, eval: &mut Eval, lines: &mut Lines<'_>) -> Result<(), ScriptError> {
    let mut position = 0;
    while let Some((line, text)) = lines.block() {
        eval.written.push(text.to_string());
        let expect = &mut eval.expect;
        // The old spellings end the block, as a number does.
        if let Some(message) = text.strip_prefix("expected_fail_message").filter(|_| fails) {
            expect.fail = Some(Text::Exactly(message.trim().to_string()));
            return Ok(());
        }
        if let Some(pattern) = text.strip_prefix("expected_fail_regexp").filter(|_| fails) {
            expect.fail = Some(pattern_of(line, pattern)?);
            return Ok(());
        }
        if let Some(rest) = text.strip_prefix("expect range vector") {
            let (When::Range(found), "") = range(line, rest.trim_start())? else {
                return fail(
                    line,
                    "write expect range vector from <time> to <time> step <duration>",
                );
            };
            // As in Prometheus, the range vector's end is the instant.
            expect.range_vector = Some(found);
            eval.when = When::Instant(found.end_ms);
        } else if let Some(rest) = text.strip_prefix("expect string") {
            expect.text = Some(string(line, rest)?);
        } else if text == "expect" || text.starts_with("expect ") {
            expected(line, text["expect".len()..].trim_start(), expect)?;
        } else if let Some(number) = notation::number(text) {
            expect.scalar = Some(number);
            return Ok(());
        } else {
            let (labels, values) = series(line, text)?;
            let instant = matches!(eval.when, When::Instant(_));
            if values.len() > 1 && instant && expect.range_vector.is_none() {
                let reason = "an instant has one value per series: write \
                              expect range vector above the series if a range vector is answered";
                return fail(line, reason);
            }
            if values.is_empty() && instant && expect.range_vector.is_none() {
                return fail(line, "the series has no value: write one behind it");
            }
            position += 1;
            expect.scalar = None;
            expect.series.insert(labels, (position, values));
        }
    }
    Ok(())
}

fn pattern_of(line: usize, pattern: &str) -> Result<Text, ScriptError> {
    match Regex::new(pattern.trim()) {
        Ok(regex) => Ok(Text::Like(regex)),
        Err(error) => {
            let reason = error.to_string().replace('\n', " ");
            fail(line, format!("invalid regular expression: {reason}"))
        }
    }
}

fn string(line: usize, text: &str) -> Result<String, ScriptError> {
    let text = text.strip_prefix(' ').unwrap_or_default();
    notation::quoted(text).or_else(|error| {
        fail(
            line,
            format!("expect string needs a quoted string: {error}"),
        )
    })
}

/// What follows `expect`.
fn expected(line: usize, text: &str, expect: &mut Expect) -> Result<(), ScriptError> {
    let (kind, rest) = word(text);
    let wanted = match rest.split_once(':') {
        _ if rest.is_empty() => Text::Any,
        Some(("msg", message)) if !message.is_empty() => Text::Exactly(message.trim().to_string()),
        Some(("regex", pattern)) if !pattern.is_empty() => pattern_of(line, pattern)?,
        _ => {
            return fail(
                line,
                format!("{rest:?} is neither msg:<text> nor regex:<pattern>"),
            );
        }
    };
    match kind {
        "ordered" => expect.ordered = true,
        "fail" if expect.fail.is_some() => {
            return fail(line, "only one expect fail is allowed");
        }
        "fail" => expect.fail = Some(wanted),
        "warn" => expect.warnings.matching.push(wanted),
        "info" => expect.infos.matching.push(wanted),
        "no_warn" => expect.warnings.none = true,
        "no_info" => expect.infos.none = true,
        _ => {
            let reason = "invalid expect: write fail, warn, info, no_warn, no_info, ordered, string or range vector";
            return fail(line, reason);
        }
    }
    for (kind, notes) in [("warn", &expect.warnings), ("info", &expect.infos)] {
        if notes.none && !notes.matching.is_empty() {
            let reason = format!("{kind} and no_{kind} cannot be expected together");
            return fail(line, reason);
        }
    }
    Ok(())
}

/// The name of the native histogram that `load_with_nhcb` makes of a series of a classic one.
pub(super) fn native_of(labels: &Labels) -> Option<Labels> {
    let name = labels.name();
    let base = ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))?;
    Some(labels.with("le", "").with(NAME, base))
}
