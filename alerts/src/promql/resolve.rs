//! Checked expressions to plans.
//!
//! Invariant: native histograms, experimental functions and aggregations are refused here with their name, so that evaluation
//! never meets them and never answers "empty" in their place.

use super::ast::{self, Expr, ExprKind, LabelMatcher};
use super::functions::Function;
use super::plan::{
    Aggregate, AggregateOp, Binary, BinaryOp, Call, Card, Condition, Matcher, Matching, Node,
    QueryError, Selector, Window, WindowSource,
};
use super::token::Kind;
use super::{check, literal, parse, pattern};
use crate::labels::NAME;

/// Parses, checks and plans.
pub(super) fn plan(text: &str) -> Result<Node, QueryError> {
    let expr = parse::parse(text)?;
    if let ExprKind::Text(Err(bytes)) = &expr.kind {
        // Prometheus' API answers such a string with replacement characters too.
        return Ok(Node::Text(String::from_utf8_lossy(bytes).into_owned()));
    }
    // Patterns come first: Prometheus compiles them while it parses.
    let plan = Resolver { text }.node(&expr);
    match plan {
        Err(error) if !error.unsupported => Err(error),
        plan => {
            check::check(text, &expr)?;
            plan
        }
    }
}

struct Resolver<'a> {
    text: &'a str,
}

/// Where Prometheus says that an argument stands: behind its parentheses, and nowhere if it is a subquery.
fn argument_at(expr: &Expr) -> usize {
    match &expr.kind {
        ExprKind::Paren(inner) => argument_at(inner),
        ExprKind::Subquery { .. } => 0,
        _ => expr.at,
    }
}

impl Resolver<'_> {
    fn unsupported<T>(&self, at: usize, reason: String) -> Result<T, QueryError> {
        Err(QueryError::unsupported(self.text, at, reason))
    }

    fn node(&self, expr: &Expr) -> Result<Node, QueryError> {
        Ok(match &expr.kind {
            ExprKind::Number(number) => Node::Number(*number),
            ExprKind::Text(text) => Node::Text(self.text(expr.at, text)?),
            ExprKind::Paren(inner) => self.node(inner)?,
            ExprKind::Unary { minus, expr } => match (minus, self.node(expr)?) {
                (false, node @ Node::Instant(_)) => Node::Plus(Box::new(node)),
                (false, node) => node,
                (true, Node::Number(number)) => Node::Number(-number),
                (true, node) => Node::Negate(Box::new(node)),
            },
            ExprKind::Selector(found) => Node::Instant(self.selector(found)?),
            ExprKind::Range { selector, range_ms } => Node::Range(Window {
                source: WindowSource::Selector(self.selector(selector)?),
                range_ms: *range_ms,
            }),
            ExprKind::Subquery {
                expr,
                range_ms,
                step_ms,
                when,
            } => Node::Range(Window {
                source: WindowSource::Subquery {
                    expr: Box::new(self.node(expr)?),
                    step_ms: step_ms.filter(|step| *step > 0),
                    when: *when,
                },
                range_ms: *range_ms,
            }),
            ExprKind::Call { name, args } => self.call(expr.at, name, args)?,
            ExprKind::Aggregate(found) => self.aggregate(expr.at, found)?,
            ExprKind::Binary(found) => self.binary(found)?,
        })
    }

    fn text(&self, at: usize, text: &ast::Text) -> Result<String, QueryError> {
        match text {
            Ok(text) => Ok(text.clone()),
            Err(_) => {
                let shown = literal::quoted(text);
                self.unsupported(
                    at,
                    format!("a string that is not UTF-8 is not supported: {shown}"),
                )
            }
        }
    }

    fn call(&self, at: usize, name: &str, args: &[Expr]) -> Result<Node, QueryError> {
        let nodes: Vec<Node> = args
            .iter()
            .map(|arg| self.node(arg))
            .collect::<Result<_, _>>()?;
        if let ("label_replace", Some(Node::Text(pattern))) = (name, nodes.get(4))
            && pattern::anchored(pattern).is_err()
        {
            let reason = format!("invalid regular expression in label_replace(): {pattern}");
            // Prometheus says so when it evaluates, without a place.
            return Err(QueryError {
                reason,
                at: Some(args[4].at),
                unsupported: false,
            });
        }
        match Function::resolve(name) {
            Ok(function) => Ok(Node::Call(Call {
                function,
                args: nodes,
                at,
                args_at: args.iter().map(argument_at).collect(),
            })),
            Err(reason) => self.unsupported(at, reason),
        }
    }

    fn selector(&self, found: &ast::Selector) -> Result<Selector, QueryError> {
        let mut matchers = Vec::with_capacity(found.matchers.len() + 1);
        if let Some(name) = &found.name {
            matchers.push(Matcher {
                name: NAME.into(),
                condition: Condition::Equal(name.clone()),
            });
        }
        for matcher in &found.matchers {
            matchers.push(Matcher {
                name: matcher.name.clone(),
                condition: self.condition(matcher)?,
            });
        }
        Ok(Selector {
            matchers,
            when: found.when,
        })
    }

    fn condition(&self, matcher: &LabelMatcher) -> Result<Condition, QueryError> {
        let value = self.text(matcher.at, &matcher.value)?;
        let like = || {
            pattern::anchored(&value)
                .map_err(|reason| QueryError::syntax(self.text, matcher.at, reason))
        };
        Ok(match matcher.op {
            Kind::Assign => Condition::Equal(value),
            Kind::NotEqual => Condition::NotEqual(value),
            Kind::Like => Condition::Like(like()?),
            _ => Condition::Unlike(like()?),
        })
    }

    fn aggregate(&self, at: usize, found: &ast::Aggregate) -> Result<Node, QueryError> {
        use AggregateOp::*;
        let op = match &*found.op {
            "sum" => Sum,
            "avg" => Avg,
            "min" => Min,
            "max" => Max,
            "count" => Count,
            "group" => Group,
            "stddev" => Stddev,
            "stdvar" => Stdvar,
            "topk" => Topk,
            "bottomk" => Bottomk,
            "quantile" => Quantile,
            "count_values" => CountValues,
            name => {
                return self.unsupported(
                    at,
                    format!("aggregation `{name}` is experimental and not supported"),
                );
            }
        };
        if let (CountValues, Some(ExprKind::Text(label))) =
            (op, found.param.as_ref().map(|param| &param.kind))
            && (label.as_ref().is_ok_and(String::is_empty) || label.is_err())
        {
            return Err(QueryError {
                reason: format!("invalid label name {}", literal::quoted(label)),
                at: Some(at),
                unsupported: false,
            });
        }
        let param = found.param.as_ref();
        Ok(Node::Aggregate(Aggregate {
            op,
            expr: Box::new(self.node(&found.expr)?),
            param: param
                .map(|param| self.node(param))
                .transpose()?
                .map(Box::new),
            param_at: param.map_or(at, |param| argument_at(param)),
            without: found.without,
            grouping: found.grouping.clone(),
        }))
    }

    fn binary(&self, found: &ast::Binary) -> Result<Node, QueryError> {
        use BinaryOp::*;
        let op = match found.op {
            Kind::Add => Add,
            Kind::Sub => Sub,
            Kind::Mul => Mul,
            Kind::Div => Div,
            Kind::Mod => Mod,
            Kind::Pow => Pow,
            Kind::Atan2 => Atan2,
            Kind::Equal => Equal,
            Kind::NotEqual => NotEqual,
            Kind::Greater => Greater,
            Kind::Less => Less,
            Kind::GreaterOrEqual => GreaterOrEqual,
            Kind::LessOrEqual => LessOrEqual,
            Kind::And => And,
            Kind::Or => Or,
            Kind::Unless => Unless,
            _ => {
                let reason = format!("operator `{}` is not supported", found.op_text);
                return self.unsupported(found.op_at, reason);
            }
        };
        let (card, include) = match &found.group {
            Some(group) if group.left => (Card::ManyToOne, group.include.clone()),
            Some(group) => (Card::OneToMany, group.include.clone()),
            None => (Card::OneToOne, Vec::new()),
        };
        Ok(Node::Binary(Binary {
            op,
            left: Box::new(self.node(&found.left)?),
            right: Box::new(self.node(&found.right)?),
            bool: found.bool,
            matching: Matching {
                on: found.on,
                labels: found.labels.clone(),
                card,
                include,
            },
        }))
    }
}
