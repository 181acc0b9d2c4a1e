//! Alert rules over recorded series.
pub mod exposition;
pub mod labels;
pub mod number;
pub mod promql;
pub mod rules;
pub mod scrape;
pub mod series;
pub mod template;
pub mod timeline;
