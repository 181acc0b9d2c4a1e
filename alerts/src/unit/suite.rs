//! A test file together with the rules that it tests.
//!
//! Invariant: a [`Suite`] has parsed rules; a rule file that does not parse, or that is named and missing, is refused.

use std::collections::BTreeSet;

use super::coverage::Coverage;
use super::file::TestFile;
use super::run::{self, GroupResult, Options};
use crate::rules::{RuleError, RuleSet};

/// Where files come from.
pub trait Files {
    /// The files that a pattern stands for, sorted; a pattern without `*`, `?` and `[` is the name of a file.
    ///
    /// # Errors
    /// A pattern that is malformed.
    fn matching(&self, pattern: &str) -> Result<Vec<String>, String>;

    /// A file's text.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&self, path: &str) -> Result<String, String>;
}

/// A test file and its rules.
#[derive(Debug, Clone)]
pub struct Suite {
    /// The tests.
    pub file: TestFile,
    /// The rules, in the order in which they are evaluated.
    pub rules: RuleSet,
    /// What is suspicious and not wrong: a pattern without files, a check of an alert that no rule makes.
    pub warnings: Vec<String>,
}

impl Suite {
    /// Reads a test file and its rule files.
    ///
    /// # Errors
    /// All that is wrong with the rule files, or the first thing that is wrong with the test file.
    pub fn load(file: &str, files: &impl Files) -> Result<Suite, Vec<RuleError>> {
        let text = files.read(file).map_err(|why| vec![refused(file, why)])?;
        let tests = TestFile::parse(file, &text)?;
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let absolute = file.starts_with('/');
        let (mut paths, mut errors, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
        for pattern in &tests.rule_files {
            let pattern = match pattern.starts_with('/') {
                // The empty name stays one: it is no folder.
                false if pattern.is_empty() => String::new(),
                true => clean(pattern),
                false if folder.is_empty() && !absolute => clean(pattern),
                false => clean(&format!("{folder}/{pattern}")),
            };
            match files.matching(&pattern) {
                Ok(found) if found.is_empty() && pattern.contains(['*', '?', '[']) => {
                    warnings.push(format!("no file match pattern {pattern}"));
                }
                Ok(found) if found.is_empty() => {
                    let reason = format!("rule file {pattern} is missing");
                    errors.push(refused(file, reason));
                }
                Ok(found) => paths.extend(found),
                Err(why) => errors.push(refused(file, format!("rule_files: {pattern}: {why}"))),
            }
        }
        // Two patterns may name one file; its groups exist once.
        let mut seen = BTreeSet::new();
        paths.retain(|path| seen.insert(path.clone()));
        let mut sources = Vec::new();
        for path in &paths {
            match files.read(path) {
                Ok(text) => sources.push((path, text)),
                Err(why) => errors.push(refused(path, why)),
            }
        }
        let sources = sources.iter().map(|(path, text)| (&***path, &**text));
        match RuleSet::from_sources(sources) {
            Ok(rules) if errors.is_empty() => {
                let mut suite = Suite {
                    rules: rules.in_order(&tests.group_eval_order),
                    file: tests,
                    warnings,
                };
                suite.warn_of_missing_alerts();
                suite.warn_of_unread_input();
                Ok(suite)
            }
            Ok(_) => Err(errors),
            Err(more) => {
                errors.extend(more);
                Err(errors)
            }
        }
    }

    /// Runs the test at this place of the file.
    pub fn run(&self, at: usize, options: &Options) -> GroupResult {
        self.run_with(&self.rules, at, options)
    }

    /// The same with these rules instead of the file's.
    pub fn run_with(&self, rules: &RuleSet, at: usize, options: &Options) -> GroupResult {
        run::run(&self.file, &self.file.tests[at], rules, options)
    }

    /// The rules with nothing seen of them yet.
    pub fn coverage(&self) -> Coverage {
        Coverage::of(&self.rules)
    }

    /// Input that promtool passes over in silence.
    fn warn_of_unread_input(&mut self) {
        for (at, test) in self.file.tests.iter().enumerate() {
            if test.unread > 0 {
                let (title, unread) = (test.title(at), test.unread);
                self.warnings.push(format!(
                    "{title}: {unread} input series are not read: the one before them holds an empty line or a comment"
                ));
            }
        }
    }

    /// That an alert which no rule makes does not fire is no news.
    fn warn_of_missing_alerts(&mut self) {
        let known: BTreeSet<&str> = self.rules.alerts().map(|(_, rule)| &*rule.name).collect();
        let mut missing = BTreeSet::new();
        for test in self.file.tests.iter().flat_map(|test| &test.alerts) {
            if !known.contains(&*test.alertname) && missing.insert(&*test.alertname) {
                self.warnings
                    .push(format!("no rule makes the alert {}", test.alertname));
            }
        }
    }
}

fn refused(file: &str, reason: String) -> RuleError {
    RuleError {
        file: file.into(),
        line: 0,
        column: 0,
        reason,
        source_line: String::new(),
    }
}

/// A path without `.`, `..` after a folder, and doubled slashes: one file has one name wherever tests name it from.
fn clean(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match (part, parts.last()) {
            ("" | ".", _) => {}
            ("..", Some(last)) if *last != ".." => {
                parts.pop();
            }
            ("..", None) if absolute => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".into(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cleaned_as_go_does() {
        for (path, want) in [
            ("a/../b.yml", "b.yml"),
            ("./a//b/./c.yml", "a/b/c.yml"),
            ("../../a.yml", "../../a.yml"),
            ("x/../../a.yml", "../a.yml"),
            ("/../a.yml", "/a.yml"),
            ("a/..", "."),
        ] {
            assert_eq!(clean(path), want, "{path}");
        }
    }
}
