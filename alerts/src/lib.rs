//! Alert rules over recorded series.
