//! Which numbers an expression can answer.
//!
//! Invariant: an interval may be too wide, never too narrow: what is said to be impossible is. NaN is in none of them, and no
//! comparison but `!=` keeps it.

use crate::promql::token::Kind;

/// All numbers between two bounds, each of which belongs to it or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Interval {
    pub low: f64,
    pub high: f64,
    pub low_open: bool,
    pub high_open: bool,
}

/// What a comparison of two intervals comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Never,
    Always,
    Depends,
}

impl Interval {
    pub const ALL: Interval = Interval::closed(f64::NEG_INFINITY, f64::INFINITY);
    pub const POSITIVE: Interval = Interval::closed(0.0, f64::INFINITY);

    pub const fn closed(low: f64, high: f64) -> Self {
        Interval {
            low,
            high,
            low_open: false,
            high_open: false,
        }
    }

    pub fn is_empty(self) -> bool {
        self.low > self.high || (self.low == self.high && (self.low_open || self.high_open))
    }

    /// The only number in it.
    pub fn single(self) -> Option<f64> {
        (self.low == self.high && !self.is_empty()).then_some(self.low)
    }

    pub fn meet(self, other: Self) -> Self {
        let (low, low_open) = match self.low.total_cmp(&other.low) {
            std::cmp::Ordering::Less => (other.low, other.low_open),
            std::cmp::Ordering::Greater => (self.low, self.low_open),
            std::cmp::Ordering::Equal => (self.low, self.low_open || other.low_open),
        };
        let (high, high_open) = match self.high.total_cmp(&other.high) {
            std::cmp::Ordering::Less => (self.high, self.high_open),
            std::cmp::Ordering::Greater => (other.high, other.high_open),
            std::cmp::Ordering::Equal => (self.high, self.high_open || other.high_open),
        };
        Interval {
            low,
            high,
            low_open,
            high_open,
        }
    }

    /// The smallest interval with both.
    pub fn hull(self, other: Self) -> Self {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        let low_open = match self.low.total_cmp(&other.low) {
            std::cmp::Ordering::Less => self.low_open,
            std::cmp::Ordering::Greater => other.low_open,
            std::cmp::Ordering::Equal => self.low_open && other.low_open,
        };
        let high_open = match self.high.total_cmp(&other.high) {
            std::cmp::Ordering::Greater => self.high_open,
            std::cmp::Ordering::Less => other.high_open,
            std::cmp::Ordering::Equal => self.high_open && other.high_open,
        };
        Interval {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            low_open,
            high_open,
        }
    }

    pub fn negated(self) -> Self {
        Interval {
            low: -self.high,
            high: -self.low,
            low_open: self.high_open,
            high_open: self.low_open,
        }
    }

    /// What is left of it after `self op other` held for some number of the other.
    pub fn kept(self, op: Kind, other: Self) -> Self {
        let below = |open| Interval {
            high: other.high,
            high_open: open || other.high_open,
            ..Interval::ALL
        };
        let above = |open| Interval {
            low: other.low,
            low_open: open || other.low_open,
            ..Interval::ALL
        };
        match op {
            Kind::Equal => self.meet(other),
            Kind::Less => self.meet(below(true)),
            Kind::LessOrEqual => self.meet(below(false)),
            Kind::Greater => self.meet(above(true)),
            Kind::GreaterOrEqual => self.meet(above(false)),
            _ => self,
        }
    }

    /// Whether `self op other` can hold, and whether it can fail.
    pub fn compared(self, op: Kind, other: Self) -> Answer {
        let opposite = match op {
            Kind::Equal => Kind::NotEqual,
            Kind::NotEqual => Kind::Equal,
            Kind::Less => Kind::GreaterOrEqual,
            Kind::LessOrEqual => Kind::Greater,
            Kind::Greater => Kind::LessOrEqual,
            _ => Kind::Less,
        };
        if self.impossible(op, other) {
            Answer::Never
        } else if self.impossible(opposite, other) {
            Answer::Always
        } else {
            Answer::Depends
        }
    }

    fn impossible(self, op: Kind, other: Self) -> bool {
        match op {
            Kind::NotEqual => self.single().is_some() && self.single() == other.single(),
            _ => self.kept(op, other).is_empty(),
        }
    }

    /// Arithmetic where one side is a single number or both are bounded simply; anything where that says too little.
    pub fn combined(self, op: Kind, other: Self) -> Self {
        let sum = |a: Self, b: Self| Interval {
            low: a.low + b.low,
            high: a.high + b.high,
            low_open: a.low_open || b.low_open,
            high_open: a.high_open || b.high_open,
        };
        let scaled = |a: Self, factor: f64| match factor {
            f if f > 0.0 => Interval {
                low: a.low * f,
                high: a.high * f,
                ..a
            },
            f if f < 0.0 => Interval {
                low: a.low * -f,
                high: a.high * -f,
                ..a
            }
            .negated(),
            _ => Interval::ALL,
        };
        let out = match op {
            Kind::Add => sum(self, other),
            Kind::Sub => sum(self, other.negated()),
            Kind::Mul => match (self.single(), other.single()) {
                (_, Some(factor)) => scaled(self, factor),
                (Some(factor), _) => scaled(other, factor),
                _ if self.low >= 0.0 && other.low >= 0.0 => Interval::POSITIVE,
                _ => Interval::ALL,
            },
            Kind::Div => match other.single() {
                Some(divisor) if divisor != 0.0 => scaled(self, 1.0 / divisor),
                _ if self.low >= 0.0 && other.low >= 0.0 => Interval::POSITIVE,
                _ => Interval::ALL,
            },
            _ => Interval::ALL,
        };
        if out.low.is_nan() || out.high.is_nan() {
            Interval::ALL
        } else {
            out
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_is_impossible_only_where_no_numbers_satisfy_it() {
        let positive = Interval::POSITIVE;
        let one = Interval::closed(1.0, 1.0);
        let above = positive.kept(Kind::Greater, Interval::closed(5.0, 5.0));
        let rows = [
            (
                positive,
                Kind::Less,
                Interval::closed(0.0, 0.0),
                Answer::Never,
            ),
            (
                positive,
                Kind::LessOrEqual,
                Interval::closed(0.0, 0.0),
                Answer::Depends,
            ),
            (
                positive,
                Kind::GreaterOrEqual,
                Interval::closed(0.0, 0.0),
                Answer::Always,
            ),
            (one, Kind::Equal, Interval::closed(0.0, 0.0), Answer::Never),
            (one, Kind::NotEqual, one, Answer::Never),
            (one, Kind::Equal, one, Answer::Always),
            (
                above,
                Kind::LessOrEqual,
                Interval::closed(5.0, 5.0),
                Answer::Never,
            ),
            (
                above,
                Kind::Greater,
                Interval::closed(5.0, 5.0),
                Answer::Always,
            ),
            (
                above,
                Kind::Greater,
                Interval::closed(6.0, 6.0),
                Answer::Depends,
            ),
            (Interval::ALL, Kind::Greater, one, Answer::Depends),
        ];
        for (left, op, right, want) in rows {
            assert_eq!(left.compared(op, right), want, "{left:?} {op:?} {right:?}");
        }
    }
}
