//! The tests of a file one by one, so that memory does not grow with their number.
//!
//! Invariant: what comes out is what [`Suite::load`] reads, or [`Tests::end`] says that it may not be. Whatever is odd about a file
//! (an error, a setting below the tests, a character that YAML does not allow) ends this way of reading; reading the whole
//! file then finds out what it is.

use std::io::{self, BufRead};
use std::sync::Arc;

use super::file::{self, TestGroup};
use super::suite::{Files, Suite, Suspicions};
use crate::rules::document::Reading;
use crate::rules::source::Source;
use crate::rules::yaml::{Listed, Node, is_forbidden};

/// The tests of one file, in their order.
pub struct Tests {
    nodes: Listed<Lines>,
    suite: Arc<Suite>,
    suspicions: Suspicions,
    /// A test that was read to know what stands before it.
    first: Option<Arc<Node>>,
    /// How many were given.
    given: usize,
    odd: bool,
}

impl Tests {
    /// Begins to read a file; `None` where it must be read whole.
    pub fn open(file: &str, files: &impl Files) -> Option<Tests> {
        let lines = Lines {
            inner: files.open(file)?,
            line: Vec::new(),
            used: 0,
        };
        let mut nodes = Listed::of_lines(lines, "tests");
        let first = nodes.item().ok()?;
        let suite = Suite::without_tests(head(file, &nodes)?, files).ok()?;
        Some(Tests {
            nodes,
            suspicions: Suspicions::of(&suite.rules),
            suite: Arc::new(suite),
            first,
            given: 0,
            odd: false,
        })
    }

    /// What the tests run with; it holds none of them.
    pub fn suite(&self) -> &Arc<Suite> {
        &self.suite
    }

    /// The warnings, when all tests were given; `None` when the file must be read whole, and what was given is void.
    pub fn end(mut self) -> Option<Vec<String>> {
        if self.next().is_some() || self.odd {
            return None;
        }
        let same = head(&self.suite.file.file, &self.nodes)? == self.suite.file;
        same.then(|| self.suspicions.warnings().collect())
    }

    fn read(&mut self) -> Option<TestGroup> {
        let node = match self.first.take() {
            Some(first) => first,
            None => match self.nodes.item() {
                Ok(node) => node?,
                Err(_) => {
                    self.odd = true;
                    return None;
                }
            },
        };
        let interval_ms = self.suite.file.interval_ms;
        let test = aside("", |reading| file::test(reading, &node, interval_ms));
        self.odd = test.is_none();
        test
    }
}

impl Iterator for Tests {
    type Item = TestGroup;

    fn next(&mut self) -> Option<TestGroup> {
        if self.odd {
            return None;
        }
        let test = self.read()?;
        self.suspicions.look(self.given, &test);
        self.given += 1;
        Some(test)
    }
}

/// What is said so far of all tests; `None` when something is wrong with it or tests stand in it.
fn head(file: &str, nodes: &Listed<Lines>) -> Option<file::TestFile> {
    let root = nodes.root();
    let (head, kept) = aside(file, |reading| file::head(reading, root.as_deref()))?;
    kept.is_empty().then_some(head)
}

/// Reads without the text; `None` when something was refused, as what and where cannot be said.
fn aside<T>(file: &str, read: impl FnOnce(&mut Reading<'_>) -> Option<T>) -> Option<T> {
    let source = Source::new(file, "");
    let mut reading = Reading::version_2(&source);
    let read = read(&mut reading);
    reading.finish(read).ok()?
}

/// Line by line, as long as each is whole and YAML allows its characters.
struct Lines {
    inner: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    /// Bytes of the line that were read.
    used: usize,
}

impl BufRead for Lines {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.line.len() {
            self.line.clear();
            self.used = 0;
            self.inner.read_until(b'\n', &mut self.line)?;
            let text = std::str::from_utf8(&self.line).map_err(io::Error::other)?;
            let whole = text.is_empty() || text.ends_with('\n');
            if !whole || text.contains(is_forbidden) {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(&self.line[self.used..])
    }

    fn consume(&mut self, amount: usize) {
        self.used = (self.used + amount).min(self.line.len());
    }
}

impl io::Read for Lines {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}
