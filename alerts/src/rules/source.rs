//! Where in a rule file something stands, and how that is shown.

use std::fmt;

use libyaml_safer::ScalarStyle;

use super::yaml::{Content, Node, Place};

/// What a rule file may not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    /// The file as it was named on loading.
    pub file: String,
    /// Line from 1; 0 when the file could not be read.
    pub line: usize,
    /// Column from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub reason: String,
    /// The line itself.
    pub source_line: String,
}

/// A longer line is not shown whole: the place and the reason say enough.
const SHOWN_MAX: usize = 240;

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "{}: {}", self.file, self.reason);
        }
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.reason
        )?;
        // What the terminal would act on, and tabs, take one column, so that the caret stands below its character.
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        let first = self.column.saturating_sub(SHOWN_MAX / 2 + 1);
        let line: String = self.source_line.chars().skip(first).map(shown).collect();
        let line: String = line.chars().take(SHOWN_MAX).collect();
        let caret = " ".repeat(self.column.saturating_sub(1 + first));
        write!(f, "\n  | {}\n  | {caret}^", line.trim_end())
    }
}

impl std::error::Error for RuleError {}

impl RuleError {
    /// A file that could not be read at all.
    pub(crate) fn unread(file: String, reason: String) -> Self {
        RuleError {
            file,
            line: 0,
            column: 0,
            reason,
            source_line: String::new(),
        }
    }
}

/// The text of a file with its lines.
pub(crate) struct Source<'t> {
    pub file: &'t str,
    pub text: &'t str,
    /// Byte offset of each line.
    lines: Vec<usize>,
}

impl<'t> Source<'t> {
    pub fn new(file: &'t str, text: &'t str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(breaks.map(|(at, _)| at + 1));
        Source {
            file,
            text,
            lines: lines.collect(),
        }
    }

    /// The line of a byte, from 1.
    pub fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at)
    }

    pub fn error(&self, at: usize, reason: impl Into<String>) -> RuleError {
        let at = self.text.floor_char_boundary(at);
        let line = self.line(at);
        let start = self.lines[line - 1];
        let rest = &self.text[start..];
        RuleError {
            file: self.file.into(),
            line,
            column: self.text[start..at].chars().count() + 1,
            reason: reason.into(),
            source_line: rest.lines().next().unwrap_or("").into(),
        }
    }

    /// The byte of the file at which the byte `offset` of a scalar's value stands.
    pub fn within(&self, node: &Node, offset: usize) -> usize {
        match &node.content {
            Content::Scalar { text, .. } => self.inside(&node.place(), text, offset),
            _ => node.at(),
        }
    }

    /// The same of a scalar whose place was kept. Folding and indentation move white space alone, so that the same number of
    /// other characters stands before the byte in both; escapes count as what they mean.
    pub fn inside(&self, place: &Place, value: &str, offset: usize) -> usize {
        let value = &value[..value.floor_char_boundary(offset)];
        let mut before = value.chars().filter(|c| !c.is_whitespace()).count();
        let (mut at, mut raw) = self.body(place);
        let mut end = at;
        while let Some(first) = raw.chars().next() {
            let (length, blank) = character(raw, place.style, first);
            if !blank {
                if before == 0 {
                    return at;
                }
                before -= 1;
                end = at + length;
            }
            at += length;
            raw = &raw[length..];
        }
        end.min(self.text.len())
    }

    /// The raw text of a scalar, without properties, quotes and block header.
    fn body(&self, place: &Place) -> (usize, &'t str) {
        let (start, style) = (place.span.start, place.style);
        let span = start.min(self.text.len())..place.span.end.min(self.text.len());
        let Some(mut raw) = self.text.get(span) else {
            return (start, "");
        };
        let end = start + raw.len();
        while raw.starts_with(['&', '!']) {
            let word = raw.find(char::is_whitespace).unwrap_or(raw.len());
            raw = raw[word..].trim_start();
        }
        raw = match style {
            ScalarStyle::Literal | ScalarStyle::Folded => {
                raw.split_once('\n').map_or("", |(_, body)| body)
            }
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => raw.get(1..).unwrap_or(""),
            _ => raw,
        };
        let start = end - raw.len();
        let quoted = matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted);
        match raw.len().checked_sub(1).filter(|_| quoted) {
            Some(inner) => (start, raw.get(..inner).unwrap_or(raw)),
            None => (start, raw),
        }
    }
}

/// Bytes of the character that begins here, and whether it is white space.
fn character(raw: &str, style: ScalarStyle, first: char) -> (usize, bool) {
    let escape = match style {
        ScalarStyle::SingleQuoted if raw.starts_with("''") => return (2, false),
        ScalarStyle::DoubleQuoted if first == '\\' => raw[1..].chars().next(),
        _ => return (first.len_utf8(), first.is_whitespace()),
    };
    let digits = match escape {
        Some('x') => 2,
        Some('u') => 4,
        Some('U') => 8,
        Some(c) => return (1 + c.len_utf8(), " \t\r\nntvrNLP_".contains(c)),
        None => return (1, false),
    };
    let code = raw.get(2..2 + digits);
    let meant = code.and_then(|code| char::from_u32(u32::from_str_radix(code, 16).ok()?));
    (
        code.map_or(2, |code| 2 + code.len()),
        meant.is_some_and(char::is_whitespace),
    )
}
