//! The functions of PromQL by name: which exist, what they take, which are refused.

use super::plan::{Node, QueryError, ResultType, refuse};
use super::range::RangeFunction;

/// A function, resolved.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Function {
    /// A function of the samples of a window.
    Range(RangeFunction),
    /// A function of each value.
    Math(fn(f64) -> f64),
    /// A part of a date, by default of the evaluation's time.
    Date(fn(i64) -> f64),
    Absent,
    AbsentOverTime,
    Clamp,
    ClampMax,
    ClampMin,
    HistogramFraction,
    HistogramQuantile,
    LabelJoin,
    LabelReplace,
    Pi,
    Round,
    Scalar,
    Sort,
    SortDesc,
    Time,
    Timestamp,
    Vector,
}

impl Function {
    /// Finds a function; the parser has checked the arguments' types, experimental ones are refused.
    pub fn resolve(name: &str, experimental: bool, args: &[Node]) -> Result<Function, QueryError> {
        if experimental {
            return refuse(format!(
                "function `{name}` is experimental and not supported"
            ));
        }
        if let Some(function) = RangeFunction::named(name) {
            return Ok(Function::Range(function));
        }
        if let Some(function) = super::instant::math(name) {
            return Ok(Function::Math(function));
        }
        if let Some(function) = super::calendar::part(name) {
            return Ok(Function::Date(function));
        }
        let function = match name {
            "absent" => Function::Absent,
            "absent_over_time" => Function::AbsentOverTime,
            "clamp" => Function::Clamp,
            "clamp_max" => Function::ClampMax,
            "clamp_min" => Function::ClampMin,
            "histogram_fraction" => Function::HistogramFraction,
            "histogram_quantile" => Function::HistogramQuantile,
            "label_join" => Function::LabelJoin,
            "label_replace" => Function::LabelReplace,
            "pi" => Function::Pi,
            "round" => Function::Round,
            "scalar" => Function::Scalar,
            "sort" => Function::Sort,
            "sort_desc" => Function::SortDesc,
            "time" => Function::Time,
            "timestamp" => Function::Timestamp,
            "vector" => Function::Vector,
            _ if name.starts_with("histogram_") => {
                return refuse(format!(
                    "function `{name}` needs native histograms, which are not supported"
                ));
            }
            _ => return refuse(format!("function `{name}` is not supported")),
        };
        function.check(args)?;
        Ok(function)
    }

    fn check(self, args: &[Node]) -> Result<(), QueryError> {
        match (self, args) {
            (Function::LabelReplace, [_, _, _, _, Node::Text(pattern)]) => {
                super::resolve::dot_all(&format!("^(?:{pattern})$")).map(|_| ())
            }
            _ => Ok(()),
        }
    }

    pub fn result_type(self) -> ResultType {
        match self {
            Function::Pi | Function::Scalar | Function::Time => ResultType::Scalar,
            _ => ResultType::Vector,
        }
    }
}
