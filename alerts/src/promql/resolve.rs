//! Parsed expressions to plans.
//!
//! Invariant: native histograms, experimental functions and modifiers are refused here with their name, so that evaluation
//! never meets them and never answers "empty" in their place.

use std::time::{Duration, UNIX_EPOCH};

use promql_parser::label::MatchOp;
use promql_parser::parser::{
    self, AtModifier, BinModifier, Expr, LabelModifier, Offset, VectorMatchCardinality,
    VectorSelector, token,
};
use regex::{Regex, RegexBuilder};

use super::functions::Function;
use super::plan::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, Call, Card, Condition, Matcher, Matching, Node,
    QueryError, ResultType, Selector, When, Window, WindowSource, refuse,
};
use crate::labels::NAME;

/// Parses and plans.
pub(crate) fn plan(text: &str) -> Result<Node, QueryError> {
    byte_escapes(text)?;
    let expr = parser::parse(text).map_err(|reason| QueryError { reason })?;
    node(&expr)
}

/// `"\xff"` is a byte in Prometheus, which need not be UTF-8; the parser would read it as a character.
fn byte_escapes(text: &str) -> Result<(), QueryError> {
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '#') => chars.by_ref().take_while(|c| *c != '\n').for_each(drop),
            (Some(open), _) if open == c => quote = None,
            (Some('"' | '\''), '\\') => {
                let escape = chars.next();
                let high = chars.peek().copied().unwrap_or(' ');
                let byte = (escape == Some('x')
                    && matches!(high, '8'..='9' | 'a'..='f' | 'A'..='F'))
                    || matches!(escape, Some('2' | '3'));
                if byte {
                    return refuse(
                        "an escape for a single byte above 0x7f is not supported: write the character",
                    );
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn node(expr: &Expr) -> Result<Node, QueryError> {
    Ok(match expr {
        Expr::NumberLiteral(number) => Node::Number(number.val),
        Expr::StringLiteral(text) => Node::Text(text.val.clone()),
        Expr::Paren(paren) => node(&paren.expr)?,
        Expr::Unary(unary) => match node(&unary.expr)? {
            Node::Number(number) => Node::Number(-number),
            inner => Node::Negate(Box::new(inner)),
        },
        Expr::VectorSelector(found) => Node::Instant(selector(found)?),
        Expr::MatrixSelector(found) => Node::Range(Window {
            source: WindowSource::Selector(selector(&found.vs)?),
            range_ms: millis(found.range),
        }),
        Expr::Subquery(subquery) => Node::Range(Window {
            source: WindowSource::Subquery {
                expr: Box::new(node(&subquery.expr)?),
                step_ms: subquery.step.map(millis).filter(|step| *step > 0),
                when: when(&subquery.offset, &subquery.at),
            },
            range_ms: millis(subquery.range),
        }),
        Expr::Call(call) => {
            let args: Vec<Node> = call
                .args
                .args
                .iter()
                .map(|arg| node(arg))
                .collect::<Result<_, _>>()?;
            Node::Call(Call {
                function: Function::resolve(call.func.name, call.func.experimental, &args)?,
                args,
            })
        }
        Expr::Aggregate(found) => aggregate(found)?,
        Expr::Binary(found) => binary(found)?,
        Expr::Extension(_) => return refuse("parser extension: not PromQL"),
    })
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn when(offset: &Option<Offset>, at: &Option<AtModifier>) -> When {
    let offset_ms = match offset {
        None => 0,
        Some(Offset::Pos(by)) => millis(*by),
        Some(Offset::Neg(by)) => -millis(*by),
    };
    let at = at.as_ref().map(|at| match at {
        AtModifier::Start => At::Start,
        AtModifier::End => At::End,
        AtModifier::At(time) => At::Ms(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => millis(after),
            Err(before) => -millis(before.duration()),
        }),
    });
    When { offset_ms, at }
}

fn selector(found: &VectorSelector) -> Result<Selector, QueryError> {
    if !found.matchers.or_matchers.is_empty() {
        return refuse("`or` between matchers is not PromQL");
    }
    let mut matchers = Vec::new();
    if let Some(name) = &found.name {
        matchers.push(Matcher {
            name: NAME.into(),
            condition: Condition::Equal(name.clone()),
        });
    }
    for matcher in &found.matchers.matchers {
        let condition = match &matcher.op {
            MatchOp::Equal => Condition::Equal(matcher.value.clone()),
            MatchOp::NotEqual => Condition::NotEqual(matcher.value.clone()),
            MatchOp::Re(regex) => Condition::Like(dot_all(regex.as_str())?),
            MatchOp::NotRe(regex) => Condition::Unlike(dot_all(regex.as_str())?),
        };
        matchers.push(Matcher {
            name: matcher.name.clone(),
            condition,
        });
    }
    Ok(Selector {
        matchers,
        when: when(&found.offset, &found.at),
    })
}

/// An anchored expression whose dot matches a line feed too, as in Prometheus.
pub(super) fn dot_all(anchored: &str) -> Result<Regex, QueryError> {
    let built = RegexBuilder::new(anchored)
        .dot_matches_new_line(true)
        .build();
    built.map_err(|error| QueryError {
        reason: format!("regular expression {anchored}: {error}"),
    })
}

fn aggregate(found: &parser::AggregateExpr) -> Result<Node, QueryError> {
    use AggregateOp::*;
    let op = match found.op.id() {
        token::T_SUM => Sum,
        token::T_AVG => Avg,
        token::T_MIN => Min,
        token::T_MAX => Max,
        token::T_COUNT => Count,
        token::T_GROUP => Group,
        token::T_STDDEV => Stddev,
        token::T_STDVAR => Stdvar,
        token::T_TOPK => Topk,
        token::T_BOTTOMK => Bottomk,
        token::T_QUANTILE => Quantile,
        token::T_COUNT_VALUES => CountValues,
        _ => {
            return refuse(format!(
                "aggregation `{}` is experimental and not supported",
                found.op
            ));
        }
    };
    let (without, grouping) = match &found.modifier {
        None => (false, Vec::new()),
        Some(LabelModifier::Include(labels)) => (false, labels.labels.clone()),
        Some(LabelModifier::Exclude(labels)) => (true, labels.labels.clone()),
    };
    let expr = Box::new(node(&found.expr)?);
    if expr.result_type() != ResultType::Vector {
        return refuse(format!(
            "expected an instant vector in aggregation `{}`",
            found.op
        ));
    }
    let param = found
        .param
        .as_ref()
        .map(|param| node(param))
        .transpose()?
        .map(Box::new);
    let wanted = match op {
        Topk | Bottomk | Quantile => Some(ResultType::Scalar),
        CountValues => Some(ResultType::Text),
        _ => None,
    };
    if param.as_ref().map(|param| param.result_type()) != wanted {
        return refuse(format!(
            "aggregation `{}` has the wrong parameter",
            found.op
        ));
    }
    Ok(Node::Aggregate(Aggregate {
        op,
        expr,
        param,
        without,
        grouping,
    }))
}

fn binary(found: &parser::BinaryExpr) -> Result<Node, QueryError> {
    use BinaryOp::*;
    let op = match found.op.id() {
        token::T_ADD => Add,
        token::T_SUB => Sub,
        token::T_MUL => Mul,
        token::T_DIV => Div,
        token::T_MOD => Mod,
        token::T_POW => Pow,
        token::T_ATAN2 => Atan2,
        token::T_EQLC => Equal,
        token::T_NEQ => NotEqual,
        token::T_GTR => Greater,
        token::T_LSS => Less,
        token::T_GTE => GreaterOrEqual,
        token::T_LTE => LessOrEqual,
        token::T_LAND => And,
        token::T_LOR => Or,
        token::T_LUNLESS => Unless,
        _ => return refuse(format!("operator `{}` is not supported", found.op)),
    };
    let (left, right) = (Box::new(node(&found.lhs)?), Box::new(node(&found.rhs)?));
    let bool = found
        .modifier
        .as_ref()
        .is_some_and(|modifier| modifier.return_bool);
    for side in [&left, &right] {
        if !matches!(side.result_type(), ResultType::Scalar | ResultType::Vector) {
            return refuse(format!(
                "operator `{}` needs scalars or instant vectors",
                found.op
            ));
        }
    }
    let scalars =
        left.result_type() == ResultType::Scalar && right.result_type() == ResultType::Scalar;
    if scalars && op.is_comparison() && !bool {
        return refuse("comparisons between scalars must use the bool modifier");
    }
    let any_scalar =
        left.result_type() == ResultType::Scalar || right.result_type() == ResultType::Scalar;
    if any_scalar && op.is_set() {
        return refuse(format!(
            "set operator `{}` needs instant vectors on both sides",
            found.op
        ));
    }
    let matching = match &found.modifier {
        Some(modifier) => matching(modifier)?,
        None => Matching::default(),
    };
    Ok(Node::Binary(Binary {
        op,
        left,
        right,
        bool,
        matching,
    }))
}

fn matching(modifier: &BinModifier) -> Result<Matching, QueryError> {
    if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() {
        return refuse("the fill modifiers are experimental and not supported");
    }
    let (on, labels) = match &modifier.matching {
        None => (false, Vec::new()),
        Some(LabelModifier::Include(labels)) => (true, labels.labels.clone()),
        Some(LabelModifier::Exclude(labels)) => (false, labels.labels.clone()),
    };
    let (card, include) = match &modifier.card {
        VectorMatchCardinality::ManyToOne(labels) => (Card::ManyToOne, labels.labels.clone()),
        VectorMatchCardinality::OneToMany(labels) => (Card::OneToMany, labels.labels.clone()),
        _ => (Card::OneToOne, Vec::new()),
    };
    Ok(Matching {
        on,
        labels,
        card,
        include,
    })
}
