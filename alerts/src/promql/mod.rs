//! PromQL: parsed as Prometheus parses it, evaluated over a whole list of instants at once.
//!
//! Invariant: a vector is columns, one per label set, with one number per instant; the stale marker in a column means
//! "absent here" and nothing else. Series are selected once per query, windows slide. Results equal Prometheus 3.x;
//! whatever is not supported is a [`QueryError`] before evaluation, never an empty answer.
//!
//! Map: `lex` makes `token`s, `parse` an `ast` (`literal`s in it), `check` its types; `resolve` makes the `plan` and refuses
//! what is not supported. `eval` walks the plan; `select` reads series, `window` slides ranges, `functions` resolves names,
//! `instant` is functions of vectors, `range` functions of windows, `aggregate`, `binary`, `quantile` (classic buckets),
//! `relabel`, `calendar` (dates), `pattern` (Go's regular expressions), `annotations` (warnings and infos).

mod aggregate;
mod annotations;
pub(crate) mod ast;
mod binary;
mod calendar;
mod check;
mod column;
mod eval;
mod functions;
mod instant;
mod lex;
mod literal;
mod parse;
mod pattern;
pub(crate) mod plan;
mod quantile;
mod range;
mod relabel;
mod resolve;
mod select;
pub(crate) mod token;
mod window;

pub use annotations::Annotations;
pub(crate) use calendar::civil;
pub use column::Column;
pub use eval::{Answer, EvalFailure, Options, Query};
pub(crate) use lex::tokens;
pub(crate) use parse::parse;
pub use plan::{QueryError, ResultType};
pub use select::Source;
