//! Runs the tests of all files as they are read, so that memory does not grow with their number.
//!
//! Invariant: results come out only when every file was read to its end and nothing was refused, in the order of the files. A file that
//! cannot be read test by test is read whole, and what was run of it before is void.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZero,
    sync::{Arc, Mutex, PoisonError},
    thread, vec,
};

use alerts::unit::{Coverage, GroupResult, Options, Suite, TestGroup, Tests};
use regex::Regex;

use super::{FileOutcome, TestOutcome, disk::Disk};
use crate::{exit::Error, runner};

/// What is to be run.
pub(super) struct Asked<'a> {
    pub files: &'a [String],
    /// The names of tests; all when there is none.
    pub wanted: Option<&'a Regex>,
    pub options: &'a Options,
}

/// Runs the tests; what became of each file, and what was seen of all rules.
///
/// # Errors
/// All that is wrong with any file.
pub(super) fn run(asked: &Asked<'_>) -> Result<(Vec<FileOutcome>, Coverage), Error> {
    let mut reading = Reading::of(asked);
    let seen: Mutex<BTreeMap<Part, Coverage>> = Mutex::default();
    let work = |job: &Job| {
        let mut result = job.suite.run(&job.test, asked.options);
        let coverage = std::mem::take(&mut result.coverage);
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.entry(job.part).or_default().merge(coverage);
        result
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let results = runner::run_all(&mut reading, threads, work, |_, _| {});
    let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    reading.end(results, seen)
}

/// A file, and whether it was read whole.
type Part = (usize, bool);

struct Job {
    part: Part,
    suite: Arc<Suite>,
    test: TestGroup,
}

enum Source {
    Streamed(Box<Tests>),
    Whole(Arc<Suite>, vec::IntoIter<TestGroup>),
}

impl Source {
    fn suite(&self) -> &Arc<Suite> {
        match self {
            Source::Streamed(tests) => tests.suite(),
            Source::Whole(suite, _) => suite,
        }
    }
}

/// A file that was read to its end.
struct Ended {
    whole: bool,
    outcome: FileOutcome,
    unseen: Coverage,
}

/// The jobs of all files, made as they are asked for.
struct Reading<'a> {
    asked: &'a Asked<'a>,
    open: Option<Source>,
    /// How many tests of the open file were read.
    at: usize,
    /// Part and title of each job.
    given: Vec<(Part, String)>,
    ended: Vec<Ended>,
    /// Once each: several tests may name the same broken rule file.
    refused: BTreeSet<String>,
    errors: Vec<String>,
    /// How many files were read or refused.
    done: usize,
}

impl<'a> Reading<'a> {
    fn of(asked: &'a Asked<'a>) -> Self {
        Reading {
            asked,
            open: None,
            at: 0,
            given: Vec::new(),
            ended: Vec::new(),
            refused: BTreeSet::new(),
            errors: Vec::new(),
            done: 0,
        }
    }

    /// Opens the next file; false when there is none.
    fn open(&mut self) -> bool {
        let Some(file) = self.asked.files.get(self.done) else {
            return false;
        };
        match Tests::open(file, &Disk) {
            Some(tests) => self.open = Some(Source::Streamed(Box::new(tests))),
            None => self.read_whole(file),
        }
        self.at = 0;
        true
    }

    fn read_whole(&mut self, file: &str) {
        match Suite::load(file, &Disk) {
            Ok(mut suite) => {
                let tests = std::mem::take(&mut suite.tests);
                self.open = Some(Source::Whole(Arc::new(suite), tests.into_iter()));
            }
            Err(found) => {
                self.done += 1;
                let found = found.iter().map(ToString::to_string);
                let fresh = found.filter(|error| self.refused.insert(error.clone()));
                self.errors.extend(fresh);
            }
        }
    }

    /// The open file has no more tests.
    fn close(&mut self, source: Source) {
        let suite = source.suite().clone();
        let (whole, warnings) = match source {
            Source::Whole(..) => (true, Some(Vec::new())),
            Source::Streamed(tests) => (false, tests.end()),
        };
        let Some(warnings) = warnings else {
            self.at = 0;
            return self.read_whole(&self.asked.files[self.done]);
        };
        self.done += 1;
        let known = suite.warnings.iter().cloned();
        self.ended.push(Ended {
            whole,
            unseen: suite.coverage(),
            outcome: FileOutcome {
                file: suite.file.file.clone(),
                warnings: known.chain(warnings).collect(),
                described: self.at,
                tests: Vec::new(),
            },
        });
    }

    fn end(
        self,
        results: Vec<Result<GroupResult, String>>,
        mut seen: BTreeMap<Part, Coverage>,
    ) -> Result<(Vec<FileOutcome>, Coverage), Error> {
        if !self.errors.is_empty() {
            return Err(Error::Input(self.errors.join("\n")));
        }
        // Without an error each file has ended, so that its place here is its place among the files.
        let mut coverage = Coverage::default();
        for (place, ended) in self.ended.iter().enumerate() {
            coverage.merge(ended.unseen.clone());
            coverage.merge(seen.remove(&(place, ended.whole)).unwrap_or_default());
        }
        let mut ended = self.ended;
        for (((place, whole), title), result) in self.given.into_iter().zip(results) {
            if ended[place].whole == whole {
                let tests = &mut ended[place].outcome.tests;
                tests.push(TestOutcome { title, result });
            }
        }
        let outcomes = ended.into_iter().map(|ended| ended.outcome);
        Ok((outcomes.collect(), coverage))
    }
}

impl Iterator for Reading<'_> {
    type Item = Job;

    fn next(&mut self) -> Option<Job> {
        loop {
            let Some(mut source) = self.open.take() else {
                if self.open() {
                    continue;
                }
                return None;
            };
            let next = match &mut source {
                Source::Streamed(tests) => tests.next(),
                Source::Whole(_, tests) => tests.next(),
            };
            let Some(test) = next else {
                self.close(source);
                continue;
            };
            let title = test.title(self.at);
            self.at += 1;
            let part = (self.done, matches!(source, Source::Whole(..)));
            let suite = source.suite().clone();
            self.open = Some(source);
            let wanted = self.asked.wanted;
            // After an error nothing more is shown, so that nothing more is run.
            if self.errors.is_empty() && wanted.is_none_or(|name| name.is_match(&test.name)) {
                self.given.push((part, title));
                return Some(Job { part, suite, test });
            }
        }
    }
}
