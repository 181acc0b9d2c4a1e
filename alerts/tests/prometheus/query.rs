//! Random queries of the whole stable language, weighted towards what people write. A few are ill-typed on purpose.

use crate::dice::Dice;
use crate::expr::{Expr, Kind};
use crate::words::{
    AGGREGATIONS, ARITHMETIC, COMPARISONS, DATES, LABELS, MATCHERS, MATH, METRICS, NUMBERS,
    OVER_TIME, RANGES, SETS, STEPS,
};

/// Makes queries for a world.
pub struct Maker {
    pub dice: Dice,
    /// Begin of the world, for `@`.
    pub start_ms: i64,
    /// Whether bounds of ranges may meet samples.
    pub grid: bool,
    /// Whether durations may be written as numbers and numbers as durations, which Prometheus 2 refuses.
    pub newest: bool,
}

impl Maker {
    /// A query to ask at an instant, and, unless it is a range or a literal, over a range.
    pub fn query(&mut self) -> Expr {
        let depth = self.dice.pick(&[1, 2, 2, 3, 3, 4]);
        let kind = self.dice.weighted(&[
            (90, Kind::Vector),
            (6, Kind::Scalar),
            (3, Kind::Range),
            (1, Kind::Text),
        ]);
        self.of(kind, depth)
    }

    fn of(&mut self, kind: Kind, depth: u32) -> Expr {
        let wrong = self.dice.below(250) == 0;
        let kind = match wrong {
            true => self
                .dice
                .pick(&[Kind::Scalar, Kind::Vector, Kind::Range, Kind::Text]),
            false => kind,
        };
        match kind {
            Kind::Scalar => self.scalar(depth),
            Kind::Vector => self.vector(depth),
            Kind::Range => self.range(depth),
            Kind::Text => self.text(&["\"text\"", "'it is'", "\"\"", "\"\\u00e9\\n\""]),
        }
    }

    fn text(&mut self, from: &[&'static str]) -> Expr {
        Expr::new(Kind::Text).said(self.dice.pick(from))
    }

    fn number(&mut self) -> Expr {
        let durations = ["5m", "1h30m", "2d", "10s"];
        let text = match self.newest && self.dice.percent(4) {
            true => self.dice.pick(&durations),
            false => self.dice.pick(&NUMBERS),
        };
        Expr::new(Kind::Scalar).said(text)
    }

    fn scalar(&mut self, depth: u32) -> Expr {
        if depth == 0 || self.dice.percent(60) {
            return self.number();
        }
        match self.dice.below(10) {
            0..3 => Expr::call(Kind::Scalar, "time", vec![]),
            3 => Expr::call(Kind::Scalar, "pi", vec![]),
            4 => Expr::new(Kind::Scalar)
                .said("-")
                .inner(self.scalar(depth - 1)),
            5..8 => {
                let inner = self.of(Kind::Vector, depth - 1);
                Expr::call(Kind::Scalar, "scalar", vec![inner])
            }
            _ => {
                let operator = match self.dice.percent(80) {
                    true => self.dice.weighted(&ARITHMETIC).to_string(),
                    false => format!("{} bool", self.dice.weighted(&COMPARISONS)),
                };
                let (left, right) = (
                    self.of(Kind::Scalar, depth - 1),
                    self.of(Kind::Scalar, depth - 1),
                );
                self.binary(Kind::Scalar, left, &operator, "", right)
            }
        }
    }

    fn metric(&mut self) -> &'static str {
        self.dice.weighted(&METRICS)
    }

    /// A selector; `range` is its duration in brackets or nothing.
    fn selector(&mut self, kind: Kind, range: &str) -> Expr {
        let metric = self.metric();
        let mut out = Expr::new(kind);
        let matchers: Vec<&str> = (0..self.dice.weighted(&[(5, 0), (4, 1), (2, 2)]))
            .map(|_| self.dice.weighted(&MATCHERS))
            .collect();
        out = match metric.strip_suffix('}') {
            Some(_) if matchers.is_empty() => out.said(metric),
            Some(open) => {
                let extra = matchers.iter().map(|matcher| format!(",{matcher}"));
                extra
                    .fold(out.said(open), |out, extra| out.extra(extra))
                    .said("}")
            }
            None if matchers.is_empty() => out.said(metric),
            None => out
                .said(metric)
                .extra(format!("{{{}}}", matchers.join(","))),
        };
        self.moved(out.said(range))
    }

    /// Perhaps with `offset` and `@`.
    fn moved(&mut self, mut out: Expr) -> Expr {
        if self.dice.percent(8) {
            let offset = self
                .dice
                .pick(&["5m", "1m", "30s", "-1m", "-90s", "10m", "1h"]);
            out = out.extra(format!(" offset {offset}"));
        }
        if self.dice.percent(5) {
            let half = if self.grid { 0 } else { 500 };
            let t_ms = self.start_ms + 60_000 * self.dice.below(60) + half;
            let at = match self.dice.below(4) {
                0 => " @ start()".to_string(),
                1 => " @ end()".to_string(),
                _ => format!(" @ {}.{:03}", t_ms / 1000, t_ms % 1000),
            };
            out = out.extra(at);
        }
        out
    }

    fn range(&mut self, depth: u32) -> Expr {
        let range = self.dice.pick(&RANGES);
        if depth == 0 || self.dice.percent(80) {
            let range = match self.newest && self.dice.percent(3) {
                true => "[300]".to_string(),
                false => format!("[{range}]"),
            };
            return self.selector(Kind::Range, &range);
        }
        let inner = self.of(Kind::Vector, depth - 1);
        let step = self.dice.pick(&STEPS);
        // Off the grid no bound may meet a step.
        let fraction = if self.grid { "" } else { "250ms" };
        let out = Expr::new(Kind::Range)
            .said("(")
            .inner(inner)
            .said(format!(")[{range}{fraction}:{step}]"));
        self.moved(out)
    }

    fn vector(&mut self, depth: u32) -> Expr {
        if depth == 0 {
            return match self.dice.percent(94) {
                true => self.selector(Kind::Vector, ""),
                false => {
                    let inner = self.scalar(1);
                    Expr::call(Kind::Vector, "vector", vec![inner])
                }
            };
        }
        match self.dice.below(100) {
            0..8 => self.selector(Kind::Vector, ""),
            8..36 => self.over_time(depth),
            36..58 => self.aggregation(depth),
            58..70 => {
                let operator = self.operator();
                let (left, right) = (self.of(Kind::Vector, depth - 1), self.scalar(depth - 1));
                match self.dice.percent(85) {
                    true => self.binary(Kind::Vector, left, &operator, "", right),
                    false => self.binary(Kind::Vector, right, &operator, "", left),
                }
            }
            70..80 => {
                let operator = self.operator();
                self.vectors(&operator, depth)
            }
            80..86 => {
                let operator = self.dice.weighted(&SETS);
                let matching = self.matching();
                let (left, right) = (
                    self.of(Kind::Vector, depth - 1),
                    self.of(Kind::Vector, depth - 1),
                );
                self.binary(Kind::Vector, left, operator, &matching, right)
            }
            86..88 => Expr::new(Kind::Vector)
                .said(self.dice.pick(&["-", "+", "-"]))
                .inner(self.vector(depth - 1)),
            _ => self.function(depth),
        }
    }

    fn operator(&mut self) -> String {
        match self.dice.percent(55) {
            true => self.dice.weighted(&ARITHMETIC).to_string(),
            false => {
                let comparison = self.dice.weighted(&COMPARISONS);
                let bool = self.dice.pick(&["", "", " bool"]);
                format!("{comparison}{bool}")
            }
        }
    }

    /// Operands in parentheses most of the time; without, precedence decides, for them as for us.
    fn binary(
        &mut self,
        kind: Kind,
        left: Expr,
        operator: &str,
        matching: &str,
        right: Expr,
    ) -> Expr {
        let out = Expr::new(kind);
        match self.dice.percent(70) {
            true => out
                .said("(")
                .inner(left)
                .said(format!(") {operator} "))
                .extra(matching)
                .said("(")
                .inner(right)
                .said(")"),
            false => out
                .inner(left)
                .said(format!(" {operator} "))
                .extra(matching)
                .inner(right),
        }
    }

    fn matching(&mut self) -> String {
        match self.dice.percent(60) {
            true => String::new(),
            false => {
                let word = self.dice.pick(&["on", "on", "ignoring"]);
                format!("{word}({}) ", self.labels(30))
            }
        }
    }

    fn labels(&mut self, chance: i64) -> String {
        self.dice.some(&LABELS, chance).join(", ")
    }

    /// Two vectors; often such that they match.
    fn vectors(&mut self, operator: &str, depth: u32) -> Expr {
        let aligned = |maker: &mut Self, labels: &str| {
            let inner = maker.of(Kind::Vector, depth - 1);
            Expr::new(Kind::Vector)
                .said(format!("sum by({labels}) ("))
                .inner(inner)
                .said(")")
        };
        match self.dice.below(5) {
            0 => {
                let (left, right) = (
                    self.of(Kind::Vector, depth - 1),
                    self.of(Kind::Vector, depth - 1),
                );
                let matching = self.matching();
                self.binary(Kind::Vector, left, operator, &matching, right)
            }
            1 => {
                let labels = self.labels(30);
                let (left, right) = (aligned(self, &labels), aligned(self, &labels));
                let matching = self.matching();
                self.binary(Kind::Vector, left, operator, &matching, right)
            }
            2 => {
                let inner = self.of(Kind::Vector, depth - 1);
                let other = self.of(Kind::Vector, depth - 1);
                let other = match self.dice.percent(50) {
                    true => inner.clone(),
                    false => other,
                };
                self.binary(Kind::Vector, inner, operator, "", other)
            }
            _ => {
                let labels = self.dice.pick(&["job", "job, instance", "x", "job, code"]);
                let include = self
                    .dice
                    .pick(&["", "", "", "version", "code", "job", "x, y"]);
                let word = self.dice.pick(&["group_left", "group_left", "group_right"]);
                let many = self.of(Kind::Vector, depth - 1);
                let one = aligned(self, labels);
                let (left, right) = match word == "group_left" {
                    true => (many, one),
                    false => (one, many),
                };
                let matching = format!("on({labels}) {word}({include}) ");
                self.binary(Kind::Vector, left, operator, &matching, right)
            }
        }
    }

    fn over_time(&mut self, depth: u32) -> Expr {
        let name = self.dice.weighted(&OVER_TIME);
        let range = self.of(Kind::Range, depth - 1);
        let arguments = match name {
            "quantile_over_time" => vec![self.of(Kind::Scalar, depth - 1), range],
            "predict_linear" => vec![range, self.of(Kind::Scalar, depth - 1)],
            _ => vec![range],
        };
        Expr::call(Kind::Vector, name, arguments)
    }

    fn aggregation(&mut self, depth: u32) -> Expr {
        let name = self.dice.weighted(&AGGREGATIONS);
        let grouping = match self.dice.below(10) {
            0..3 => String::new(),
            3..8 => format!(" by({})", self.labels(30)),
            _ => format!(" without({})", self.labels(30)),
        };
        let inner = self.of(Kind::Vector, depth - 1);
        let mut out = Expr::new(Kind::Vector).said(name);
        let behind = self.dice.percent(30);
        if !behind {
            out = out.extra(grouping.clone());
        }
        out = out.said("(");
        let parameter = match name {
            "topk" | "bottomk" => Some(match self.dice.percent(80) {
                true => Expr::new(Kind::Scalar).said(self.dice.pick(&["1", "2", "3", "5"])),
                false => self.of(Kind::Scalar, depth - 1),
            }),
            "quantile" => Some(self.of(Kind::Scalar, depth - 1)),
            "count_values" => Some(self.text(&["\"value\"", "\"job\"", "'x'"])),
            _ => None,
        };
        if let Some(parameter) = parameter {
            out = out.inner(parameter).said(", ");
        }
        out = out.inner(inner).said(")");
        if behind { out.extra(grouping) } else { out }
    }

    fn function(&mut self, depth: u32) -> Expr {
        let inner = self.of(Kind::Vector, depth - 1);
        let scalar = self.of(Kind::Scalar, depth - 1);
        let (name, arguments) = match self.dice.below(20) {
            0..4 => {
                let name = self.dice.pick(&MATH);
                let nearest = name == "round" && self.dice.percent(50);
                match nearest {
                    true => (name, vec![inner, scalar]),
                    false => (name, vec![inner]),
                }
            }
            4 => {
                let other = self.of(Kind::Scalar, 0);
                ("clamp", vec![inner, scalar, other])
            }
            5 => (
                self.dice.pick(&["clamp_min", "clamp_max"]),
                vec![inner, scalar],
            ),
            6 => {
                let name = self.dice.pick(&DATES);
                match self.dice.percent(70) {
                    true => (name, vec![inner]),
                    false => (name, vec![]),
                }
            }
            7 => (self.dice.pick(&["sort", "sort_desc"]), vec![inner]),
            8..10 => ("absent", vec![inner]),
            10 => ("timestamp", vec![inner]),
            11..14 => {
                let to = self.text(&["\"job\"", "\"to\"", "\"instance\"", "'__name__'", "\"x\""]);
                let with = self.text(&[
                    "\"$1\"",
                    "\"${1}-$2\"",
                    "\"\"",
                    "\"new\"",
                    "\"$0\"",
                    "\"$x\"",
                ]);
                let from = self.text(&[
                    "\"instance\"",
                    "\"job\"",
                    "\"missing\"",
                    "\"__name__\"",
                    "\"x\"",
                ]);
                let pattern = self.text(&[
                    "\"(.*):(.*)\"",
                    "\"(.).*\"",
                    "\"\"",
                    "\".*\"",
                    "\"(?P<x>a.*)\"",
                    "\"a(b|p)i\"",
                ]);
                ("label_replace", vec![inner, to, with, from, pattern])
            }
            14 => {
                let to = self.text(&["\"job\"", "\"to\""]);
                let between = self.text(&["\"-\"", "\"\""]);
                let (one, two) = (
                    self.text(&["\"job\"", "\"x\""]),
                    self.text(&["\"instance\"", "\"le\""]),
                );
                ("label_join", vec![inner, to, between, one, two])
            }
            15..19 => (
                "histogram_quantile",
                vec![scalar, self.histogram(depth, inner)],
            ),
            _ => {
                let upper = self.of(Kind::Scalar, 0);
                (
                    "histogram_fraction",
                    vec![scalar, upper, self.histogram(depth, inner)],
                )
            }
        };
        Expr::call(Kind::Vector, name, arguments)
    }

    /// Buckets, as they are usually written, or anything.
    fn histogram(&mut self, depth: u32, other: Expr) -> Expr {
        let metric = self.dice.pick(&["latency_seconds_bucket", "odd_bucket"]);
        let range = self.dice.pick(&RANGES);
        let rate = Expr::new(Kind::Range).said(format!("{metric}[{range}]"));
        let rate = Expr::call(
            Kind::Vector,
            self.dice.pick(&["rate", "increase"]),
            vec![rate],
        );
        match self.dice.below(10) {
            0..3 => rate,
            3..7 => Expr::call(
                Kind::Vector,
                self.dice.pick(&["sum by(le)", "sum by(le, job)"]),
                vec![rate],
            ),
            7..9 => Expr::new(Kind::Vector).said(metric),
            _ => match depth {
                0 => rate,
                _ => other,
            },
        }
    }
}
