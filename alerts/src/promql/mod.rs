//! PromQL: parsing by `promql-parser`, evaluation ours, over a whole list of instants at once.
//!
//! Invariant: a vector is columns, one per label set, with one number per instant; the stale marker in a column means
//! "absent here" and nothing else. Series are selected once per query, windows slide. Results equal Prometheus 3.x;
//! whatever is not supported is a [`QueryError`] before evaluation, never an empty answer.
//!
//! Map: `resolve` makes the `plan` and refuses, `select` reads series, `window` slides ranges, `functions` resolves names,
//! `instant` is functions of vectors, `range` functions of windows, `aggregate`, `binary`, `quantile` (classic buckets),
//! `calendar` (dates), `eval` walks the plan.

mod aggregate;
mod binary;
mod calendar;
mod eval;
mod functions;
mod instant;
pub(crate) mod plan;
mod quantile;
mod range;
mod relabel;
mod resolve;
mod select;
mod window;

pub(crate) use calendar::civil;
pub use eval::{Answer, Column, EvalFailure, Options, Query};
pub use plan::{QueryError, ResultType};
pub use select::Source;
