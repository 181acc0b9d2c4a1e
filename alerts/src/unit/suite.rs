//! A test file together with the rules that it tests.
//!
//! Invariant: a [`Suite`] has parsed rules; a rule file that does not parse, or that is named and missing, is refused.

use std::collections::BTreeSet;
use std::io::BufRead;

use super::coverage::Coverage;
use super::file::{TestFile, TestGroup};
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

    /// A file whose last line is whole, to be read piece by piece and maybe a second time; `None` where it can only be read whole.
    fn open(&self, _path: &str) -> Option<Box<dyn BufRead + Send>> {
        None
    }
}

/// A test file, its tests and its rules.
#[derive(Debug, Clone)]
pub struct Suite {
    /// What is said of all tests.
    pub file: TestFile,
    /// The tests; empty while they are read one by one ([`super::Tests`]).
    pub tests: Vec<TestGroup>,
    /// The rules, in the order in which they are evaluated.
    pub rules: RuleSet,
    /// What is suspicious and not wrong: a pattern without files, a check of an alert that no rule makes.
    pub warnings: Vec<String>,
}

impl Suite {
    /// Reads a test file and its rule files.
    ///
    /// # Errors
    /// All that is wrong with the rule files, or with the test file.
    pub fn load(file: &str, files: &impl Files) -> Result<Suite, Vec<RuleError>> {
        let text = files.read(file).map_err(|why| vec![refused(file, why)])?;
        let (head, tests) = TestFile::parse(file, &text)?;
        let mut suite = Suite::without_tests(head, files)?;
        let mut suspicions = Suspicions::of(&suite.rules);
        for (at, test) in tests.iter().enumerate() {
            suspicions.look(at, test);
        }
        suite.warnings.extend(suspicions.warnings());
        suite.tests = tests;
        Ok(suite)
    }

    /// Reads the rule files.
    pub(super) fn without_tests(
        head: TestFile,
        files: &impl Files,
    ) -> Result<Suite, Vec<RuleError>> {
        let file = &*head.file;
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let absolute = file.starts_with('/');
        let (mut paths, mut errors, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
        for pattern in &head.rule_files {
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
            Ok(rules) if errors.is_empty() => Ok(Suite {
                rules: rules.in_order(&head.group_eval_order),
                file: head,
                tests: Vec::new(),
                warnings,
            }),
            Ok(_) => Err(errors),
            Err(more) => {
                errors.extend(more);
                Err(errors)
            }
        }
    }

    /// Runs a test of this file.
    pub fn run(&self, test: &TestGroup, options: &Options) -> GroupResult {
        self.run_with(&self.rules, test, options)
    }

    /// The same with these rules instead of the file's.
    pub fn run_with(&self, rules: &RuleSet, test: &TestGroup, options: &Options) -> GroupResult {
        run::run(&self.file, test, rules, options)
    }

    /// The rules with nothing seen of them yet.
    pub fn coverage(&self) -> Coverage {
        Coverage::of(&self.rules)
    }
}

/// What is suspicious in tests and not wrong.
#[derive(Debug)]
pub(super) struct Suspicions {
    /// Names of the alerts that rules make, and of those that checks asked for in vain.
    known: BTreeSet<String>,
    missing: BTreeSet<String>,
    alerts: Vec<String>,
    input: Vec<String>,
}

impl Suspicions {
    pub fn of(rules: &RuleSet) -> Self {
        Suspicions {
            known: rules.alerts().map(|(_, rule)| rule.name.clone()).collect(),
            missing: BTreeSet::new(),
            alerts: Vec::new(),
            input: Vec::new(),
        }
    }

    /// Looks at the test at this place of the file.
    pub fn look(&mut self, at: usize, test: &TestGroup) {
        // That an alert which no rule makes does not fire is no news.
        for name in test.alerts.iter().map(|test| &test.alertname) {
            if !self.known.contains(name) && self.missing.insert(name.clone()) {
                self.alerts.push(format!("no rule makes the alert {name}"));
            }
        }
        // promtool passes over it in silence.
        if test.unread > 0 {
            let (title, unread) = (test.title(at), test.unread);
            self.input.push(format!(
                "{title}: {unread} input series are not read: the one before them holds an empty line or a comment"
            ));
        }
    }

    pub fn warnings(self) -> impl Iterator<Item = String> {
        self.alerts.into_iter().chain(self.input)
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
