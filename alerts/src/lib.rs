//! Alert rules over recorded series.
pub mod exposition;
pub mod labels;
pub mod number;
pub mod series;
pub mod scrape;
pub mod promql;
