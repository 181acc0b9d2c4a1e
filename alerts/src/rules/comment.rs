//! Comments for firedrill in rule files: where they stand, and which rule they are about.
//!
//! Invariant: every `# firedrill …` is found, wherever in a line it stands; what it says is for those to judge whom it is for.

use std::ops::RangeInclusive;

/// One comment.
#[derive(Debug)]
pub(crate) struct Comment<'t> {
    /// What follows `# firedrill`.
    pub said: &'t str,
    /// Line from 1, and column of the `#`.
    pub line: usize,
    pub column: usize,
    pub about: About,
}

/// What a comment is about.
#[derive(Debug, Clone)]
pub(crate) enum About {
    /// It stands above everything.
    File,
    /// It stands in or above the rule that begins at line `first`; `lines` are those of the rule and of what stands above it.
    Rule {
        first: usize,
        lines: RangeInclusive<usize>,
    },
    /// It stands in front of no rule.
    Nothing,
}

impl<'t> Comment<'t> {
    /// The first word, and what follows.
    pub fn word(&self) -> (&'t str, &'t str) {
        let (word, rest) = self
            .said
            .split_once(char::is_whitespace)
            .unwrap_or((self.said, ""));
        (word, rest.trim())
    }
}

/// The comments of a file. `rules` are the first lines of its rules, ascending.
pub(crate) fn comments<'t>(text: &'t str, rules: &[usize]) -> Vec<Comment<'t>> {
    let lines: Vec<&str> = text.lines().collect();
    let blank = |line: usize| {
        lines
            .get(line - 1)
            .is_some_and(|text| text.trim().is_empty() || text.trim_start().starts_with('#'))
    };
    // A rule begins with the comments above it.
    let starts: Vec<usize> = rules
        .iter()
        .map(|first| {
            (1..*first)
                .rev()
                .take_while(|line| blank(*line))
                .last()
                .unwrap_or(*first)
        })
        .collect();
    let head = (1..=lines.len())
        .take_while(|line| blank(*line))
        .last()
        .unwrap_or(0);
    let mut out = Vec::new();
    for (at, text) in lines.iter().enumerate() {
        let line = at + 1;
        let Some((before, said)) = split(text) else {
            continue;
        };
        let place = starts.partition_point(|start| *start <= line);
        let about = match place {
            _ if line <= head => About::File,
            0 => About::Nothing,
            _ => About::Rule {
                first: rules[place - 1],
                lines: starts[place - 1]..=starts.get(place).map_or(lines.len(), |next| next - 1),
            },
        };
        out.push(Comment {
            said,
            line,
            column: before.chars().count() + 1,
            about,
        });
    }
    out
}

/// What stands before a comment for firedrill, and what it says.
fn split(line: &str) -> Option<(&str, &str)> {
    let at = line
        .find("# firedrill")
        .or_else(|| line.find("#firedrill"))?;
    let before = &line[..at];
    let comment = before.is_empty() || before.ends_with(char::is_whitespace);
    let said = line[at..]
        .trim_start_matches('#')
        .trim_start()
        .strip_prefix("firedrill")?;
    let word = said.is_empty() || said.starts_with(char::is_whitespace);
    (comment && word).then_some((before, said.trim()))
}
