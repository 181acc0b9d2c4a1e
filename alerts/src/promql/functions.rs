//! The functions of PromQL by name: which exist, what they take, which are refused.

use super::plan::ResultType;
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

/// What a function takes and answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signature {
    pub args: &'static [ResultType],
    /// How many more arguments may follow the required ones, of the last type; any number when negative. The last of `args`
    /// is then not required.
    pub variadic: i8,
    pub answer: ResultType,
    pub experimental: bool,
}

/// The functions of Prometheus 3.x, those that are refused too.
pub(super) fn signature(name: &str) -> Option<Signature> {
    use ResultType::{Matrix as M, Scalar as S, Text as T, Vector as V};
    let takes = |args, variadic| {
        Some(Signature {
            args,
            variadic,
            answer: V,
            experimental: false,
        })
    };
    let experimental = |args, variadic, answer| {
        Some(Signature {
            args,
            variadic,
            answer,
            experimental: true,
        })
    };
    let scalar = |args| {
        Some(Signature {
            args,
            variadic: 0,
            answer: S,
            experimental: false,
        })
    };
    if super::instant::math(name).is_some() {
        return takes(&[V], 0);
    }
    if super::calendar::part(name).is_some() {
        return takes(&[V], 1);
    }
    match name {
        "absent" | "sort" | "sort_desc" | "timestamp" => takes(&[V], 0),
        "histogram_avg" | "histogram_count" | "histogram_sum" | "histogram_stddev"
        | "histogram_stdvar" => takes(&[V], 0),
        "absent_over_time" => takes(&[M], 0),
        "clamp" => takes(&[V, S, S], 0),
        "clamp_max" | "clamp_min" => takes(&[V, S], 0),
        "histogram_fraction" => takes(&[S, S, V], 0),
        "histogram_quantile" => takes(&[S, V], 0),
        "label_join" => takes(&[V, T, T, T], -1),
        "label_replace" => takes(&[V, T, T, T, T], 0),
        "predict_linear" => takes(&[M, S], 0),
        "quantile_over_time" => takes(&[S, M], 0),
        "round" => takes(&[V, S], 1),
        "vector" => takes(&[S], 0),
        "pi" | "time" => scalar(&[]),
        "scalar" => scalar(&[V]),
        "double_exponential_smoothing" => experimental(&[M, S, S], 0, V),
        "end" | "range" | "start" | "step" => experimental(&[], 0, S),
        "histogram_quantiles" => experimental(&[V, T, S, S], 9, V),
        "info" => experimental(&[V, V], 1, V),
        "mad_over_time"
        | "ts_of_first_over_time"
        | "ts_of_last_over_time"
        | "ts_of_max_over_time"
        | "ts_of_min_over_time" => experimental(&[M], 0, V),
        "max_of" | "min_of" => experimental(&[S, S], 0, S),
        "sort_by_label" | "sort_by_label_desc" => experimental(&[V, T], -1, V),
        "start_timestamp" => experimental(&[V], 0, V),
        _ if RangeFunction::named(name).is_some() => takes(&[M], 0),
        _ => None,
    }
}

impl Function {
    /// Finds a function whose arguments were checked; the reason why it is not supported otherwise.
    pub fn resolve(name: &str) -> Result<Function, String> {
        if signature(name).is_some_and(|found| found.experimental) {
            return Err(format!(
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
        Ok(match name {
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
                return Err(format!(
                    "function `{name}` needs native histograms, which are not supported"
                ));
            }
            _ => return Err(format!("function `{name}` is not supported")),
        })
    }

    pub fn result_type(self) -> ResultType {
        match self {
            Function::Pi | Function::Scalar | Function::Time => ResultType::Scalar,
            _ => ResultType::Vector,
        }
    }
}
