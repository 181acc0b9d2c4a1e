//! A query as a tree that remembers which parts can be left out: made at random, shrunk while it still shows a difference.

use std::fmt;

/// What an expression answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Scalar,
    Vector,
    Range,
    Text,
}

#[derive(Debug, Clone)]
enum Part {
    Said(String),
    /// Text without which the query is still well-formed.
    Extra(String),
    Inner(Expr),
}

/// An expression: text and expressions inside it.
#[derive(Debug, Clone)]
pub struct Expr {
    kind: Kind,
    parts: Vec<Part>,
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Said(text) | Part::Extra(text) => f.write_str(text),
            Part::Inner(inner) => inner.fmt(f),
        })
    }
}

impl Expr {
    pub fn new(kind: Kind) -> Self {
        Expr {
            kind,
            parts: Vec::new(),
        }
    }

    pub fn said(mut self, text: impl Into<String>) -> Self {
        self.parts.push(Part::Said(text.into()));
        self
    }

    pub fn extra(mut self, text: impl Into<String>) -> Self {
        self.parts.push(Part::Extra(text.into()));
        self
    }

    pub fn inner(mut self, inner: Expr) -> Self {
        self.parts.push(Part::Inner(inner));
        self
    }

    /// `name(argument, …)`.
    pub fn call(kind: Kind, name: &str, arguments: Vec<Expr>) -> Self {
        let mut out = Expr::new(kind).said(format!("{name}("));
        for (at, argument) in arguments.into_iter().enumerate() {
            out = if at > 0 { out.said(", ") } else { out };
            out = out.inner(argument);
        }
        out.said(")")
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// True when the expression itself begins so.
    pub fn begins(&self, text: &str) -> bool {
        matches!(self.parts.first(), Some(Part::Said(said)) if said.starts_with(text))
    }

    /// Smaller expressions of the same kind, the smallest first.
    pub fn smaller(&self) -> Vec<Expr> {
        let mut out = self.within();
        out.retain(|inner| inner.kind == self.kind);
        for (at, part) in self.parts.iter().enumerate() {
            let with = |part: Part| {
                let mut changed = self.clone();
                changed.parts[at] = part;
                changed
            };
            match part {
                Part::Said(_) => {}
                Part::Extra(text) if text.is_empty() => {}
                Part::Extra(_) => out.push(with(Part::Extra(String::new()))),
                Part::Inner(inner) => {
                    let smaller = inner.smaller().into_iter();
                    out.extend(smaller.map(|inner| with(Part::Inner(inner))));
                    if inner.kind == Kind::Scalar && inner.to_string() != "1" {
                        out.push(with(Part::Inner(Expr::new(Kind::Scalar).said("1"))));
                    }
                }
            }
        }
        out.sort_by_cached_key(|expr| expr.to_string().len());
        out
    }

    /// All expressions inside.
    pub fn within(&self) -> Vec<Expr> {
        let inner = self.parts.iter().filter_map(|part| match part {
            Part::Inner(inner) => Some(inner),
            _ => None,
        });
        inner
            .flat_map(|inner| [vec![inner.clone()], inner.within()].concat())
            .collect()
    }
}
