//! Expressions as text of one form, so that equal ones are equal text whatever their white space, parentheses and order of
//! matchers.

use std::fmt::Write;

use crate::promql::ast::{Expr, ExprKind, LabelMatcher, Selector};
use crate::promql::plan::{At, When};
use crate::promql::token::Kind;

/// The text.
pub(super) fn render(expr: &Expr) -> String {
    written(expr, true)
}

/// The text without matchers.
pub(super) fn shape(expr: &Expr) -> String {
    written(expr, false)
}

fn written(expr: &Expr, matchers: bool) -> String {
    let mut writer = Writer {
        out: String::new(),
        matchers,
    };
    writer.expr(expr);
    writer.out
}

struct Writer {
    out: String,
    matchers: bool,
}

impl Writer {
    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Number(number) => drop(write!(self.out, "{number}")),
            ExprKind::Text(text) => drop(write!(self.out, "{text:?}")),
            ExprKind::Paren(inner) => self.expr(inner),
            ExprKind::Unary { minus, expr } => {
                self.out.push_str(if *minus { "-(" } else { "+(" });
                self.expr(expr);
                self.out.push(')');
            }
            ExprKind::Selector(found) => self.selector(found, None),
            ExprKind::Range {
                selector: found,
                range_ms,
            } => self.selector(found, Some(*range_ms)),
            ExprKind::Subquery {
                expr,
                range_ms,
                step_ms,
                when: moved,
            } => {
                self.out.push('(');
                self.expr(expr);
                let step = step_ms.map_or(String::new(), |step| format!("{step}"));
                let _ = write!(self.out, ")[{range_ms}:{step}]");
                self.when(moved);
            }
            ExprKind::Call { name, args } => {
                self.out.push_str(name);
                self.list(args.iter());
            }
            ExprKind::Aggregate(found) => {
                let mut labels = found.grouping.clone();
                labels.sort();
                let word = if found.without { "without" } else { "by" };
                let _ = write!(self.out, "{} {word}({})", found.op, labels.join(","));
                self.list(
                    found
                        .param
                        .iter()
                        .map(|param| &**param)
                        .chain([&*found.expr]),
                );
            }
            ExprKind::Binary(found) => {
                self.out.push('(');
                self.expr(&found.left);
                let mut labels = found.labels.clone();
                labels.sort();
                let word = if found.on { "on" } else { "ignoring" };
                let bool = if found.bool { "bool" } else { "" };
                let _ = write!(
                    self.out,
                    " {} {bool}{word}({}){:?} ",
                    found.op_text,
                    labels.join(","),
                    found.group
                );
                self.expr(&found.right);
                self.out.push(')');
            }
        }
    }

    fn list<'e>(&mut self, args: impl Iterator<Item = &'e Expr>) {
        self.out.push('(');
        for (at, arg) in args.enumerate() {
            if at > 0 {
                self.out.push_str(", ");
            }
            self.expr(arg);
        }
        self.out.push(')');
    }

    fn selector(&mut self, found: &Selector, range_ms: Option<i64>) {
        let shown = found.matchers.iter().filter(|_| self.matchers);
        let mut matchers: Vec<String> = shown.map(matcher).collect();
        matchers.sort();
        let _ = write!(
            self.out,
            "{}{{{}}}",
            found.name.as_deref().unwrap_or(""),
            matchers.join(",")
        );
        if let Some(range_ms) = range_ms {
            let _ = write!(self.out, "[{range_ms}]");
        }
        self.when(&found.when);
    }

    fn when(&mut self, when: &When) {
        match when.at {
            Some(At::Ms(t)) => drop(write!(self.out, " @{t}")),
            Some(At::Start) => self.out.push_str(" @start"),
            Some(At::End) => self.out.push_str(" @end"),
            None => {}
        }
        if when.offset_ms != 0 {
            let _ = write!(self.out, " offset {}", when.offset_ms);
        }
    }
}

/// One matcher as written in braces.
pub(super) fn matcher(found: &LabelMatcher) -> String {
    let op = match found.op {
        Kind::Unlike => "!~",
        Kind::Like => "=~",
        Kind::NotEqual => "!=",
        _ => "=",
    };
    match &found.value {
        Ok(value) => format!("{}{op}{value:?}", found.name),
        Err(bytes) => format!("{}{op}{bytes:?}", found.name),
    }
}
