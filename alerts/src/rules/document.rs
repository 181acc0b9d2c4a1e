//! Nodes to fields: what is missing, unknown, repeated or of another type is noted with its place, and reading goes on, so
//! that all errors of a file are known at once.

use super::source::{RuleError, Source};
use super::yaml::{Content, Node};

/// Reads one file's nodes and collects what is wrong.
pub(crate) struct Reading<'t> {
    pub source: &'t Source<'t>,
    /// As version 2 of go-yaml reads, by which promtool reads unit tests: an item of nothing is an item, and a name of nothing is the
    /// empty name. Version 3, which reads rules, leaves both out.
    nothing_counts: bool,
    errors: Vec<RuleError>,
}

/// Fields of a mapping that have a value: name, key and value.
pub(crate) struct Fields<'n>(Vec<(&'n str, &'n Node, &'n Node)>);

impl<'n> Fields<'n> {
    /// Those of an empty mapping.
    pub fn none() -> Self {
        Fields(Vec::new())
    }

    /// A field's value; `None` when it is not set or set to nothing.
    pub fn get(&self, name: &str) -> Option<&'n Node> {
        self.given(name).filter(|value| !value.is_null())
    }

    /// A field's value, which may be nothing; `None` when it is not set.
    pub fn given(&self, name: &str) -> Option<&'n Node> {
        let found = self.0.iter().find(|(have, ..)| *have == name);
        found.map(|(_, _, value)| *value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'n str, &'n Node, &'n Node)> {
        self.0.iter().copied()
    }
}

impl<'t> Reading<'t> {
    pub fn new(source: &'t Source<'t>) -> Self {
        Reading {
            source,
            nothing_counts: false,
            errors: Vec::new(),
        }
    }

    /// As version 2 of go-yaml reads.
    pub fn version_2(source: &'t Source<'t>) -> Self {
        Reading {
            nothing_counts: true,
            ..Reading::new(source)
        }
    }

    /// What was read, unless something was wrong: all of it, in the order of the file.
    pub fn finish<T>(mut self, read: T) -> Result<T, Vec<RuleError>> {
        if self.errors.is_empty() {
            return Ok(read);
        }
        self.errors.sort_by_key(|error| (error.line, error.column));
        // What an alias stands for is read once for each.
        self.errors.dedup();
        Err(self.errors)
    }

    pub fn refuse(&mut self, node: &Node, reason: impl Into<String>) {
        self.refuse_at(node.at(), reason);
    }

    pub fn refuse_at(&mut self, at: usize, reason: impl Into<String>) {
        self.errors.push(self.source.error(at, reason));
    }

    /// Refuses a byte inside of a scalar's value.
    pub fn refuse_within(&mut self, node: &Node, offset: usize, reason: String) {
        self.refuse_at(self.source.within(node, offset), reason);
    }

    /// The fields of a mapping; nothing has none.
    pub fn any_fields<'n>(&mut self, node: &'n Node) -> Option<Fields<'n>> {
        if node.is_null() {
            return Some(Fields(Vec::new()));
        }
        if !matches!(node.content, Content::Mapping(_)) {
            self.refuse(node, format!("expected a mapping, found {}", node.kind()));
            return None;
        }
        let entries = match node.entries() {
            Ok(entries) => entries,
            Err(fault) => {
                self.refuse_at(fault.at, fault.reason);
                return None;
            }
        };
        let mut out = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            match &key.content {
                Content::Scalar { text, .. } if !key.is_null() => out.push((&**text, key, value)),
                Content::Scalar { .. } if self.nothing_counts => out.push(("", key, value)),
                Content::Scalar { .. } => {} // a key of nothing names nothing
                _ => self.refuse(key, format!("expected a name, found {}", key.kind())),
            }
        }
        Some(Fields(out))
    }

    /// The same where only these fields may stand.
    pub fn fields<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Option<Fields<'n>> {
        let fields = self.any_fields(node)?;
        for (name, key, _) in fields.iter().filter(|(name, ..)| !known.contains(name)) {
            let known = known.join(", ");
            self.refuse(
                key,
                format!("unknown field `{name}` in {what}; known are {known}"),
            );
        }
        Some(fields)
    }

    /// The items of a list, none when the field is not set.
    pub fn items<'n>(&mut self, node: Option<&'n Node>, field: &str) -> Vec<&'n Node> {
        match node.map(|node| (node, &node.content)) {
            None => Vec::new(),
            Some((_, Content::Sequence(items))) => items
                .iter()
                .map(|item| &**item)
                .filter(|item| self.nothing_counts || !item.is_null())
                .collect(),
            Some((node, _)) => {
                self.refuse(
                    node,
                    format!("`{field}` must be a list, found {}", node.kind()),
                );
                Vec::new()
            }
        }
    }

    /// True for a resource whose kind is a list.
    pub fn is_list(&self, node: &Node) -> bool {
        let Content::Mapping(pairs) = &node.content else {
            return false;
        };
        let text = |node: &Node, want: &dyn Fn(&str) -> bool| matches!(&node.content, Content::Scalar { text, .. } if want(text));
        pairs.iter().any(|(key, value)| {
            text(key, &|key| key == "kind") && text(value, &|kind| kind.ends_with("List"))
        })
    }

    /// A scalar's text, whatever its type; `None` for nothing.
    pub fn text<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        if node.is_null() {
            return None;
        }
        let Content::Scalar { text, .. } = &node.content else {
            self.refuse(node, format!("expected text, found {}", node.kind()));
            return None;
        };
        let fits = match node.core_tag() {
            Some("int") => integer(text).is_some_and(|value| value.fract() == 0.0),
            Some("float") => text.parse::<f64>().is_ok() || text.starts_with(['.', '-', '+']),
            Some("bool") => matches!(
                &**text,
                "true" | "True" | "TRUE" | "false" | "False" | "FALSE"
            ),
            Some("binary") => false,
            _ => true,
        };
        if !fits {
            let tag = node.core_tag().unwrap_or("str");
            self.refuse(node, format!("{text:?} cannot be read as !!{tag}"));
            return None;
        }
        Some(text)
    }

    /// An integer; go-yaml cuts the fraction of a decimal.
    pub fn integer(&mut self, node: &Node) -> Option<i64> {
        let value = match &node.content {
            Content::Scalar { text, style }
                if *style == libyaml_safer::ScalarStyle::Plain
                    || node.core_tag() == Some("int") =>
            {
                integer(text)
            }
            _ => None,
        };
        // The first value above what 64 bits hold.
        match value.filter(|value| *value < 9_223_372_036_854_775_808.0) {
            Some(value) => Some(value as i64),
            None => {
                let text = match &node.content {
                    Content::Scalar { text, .. } => format!("{text:?}"),
                    _ => node.kind().into(),
                };
                self.refuse(node, format!("expected a whole number, found {text}"));
                None
            }
        }
    }
}

/// A number as YAML 1.1 and 1.2 write them.
fn integer(text: &str) -> Option<f64> {
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let radix = |prefix: &str, radix: u32| {
        let digits = digits.strip_prefix(prefix)?;
        u64::from_str_radix(digits, radix).ok()
    };
    let whole = radix("0x", 16)
        .or_else(|| radix("0b", 2))
        .or_else(|| radix("0o", 8))
        .or_else(|| radix("0", 8).filter(|_| digits.len() > 1));
    let value = match whole {
        Some(whole) => whole as f64,
        None if digits.eq_ignore_ascii_case(".inf") => f64::INFINITY,
        None => digits
            .parse::<f64>()
            .ok()
            .filter(|_| digits.contains(|c: char| c.is_ascii_digit()))?,
    };
    Some(sign * value)
}
