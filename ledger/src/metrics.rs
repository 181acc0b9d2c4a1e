//! Values of the contract's series, and the one renderer of `/metrics`.
//!
//! The text is laid out once; a scrape copies the fixed parts and writes the numbers between them, always in the same order.
//! A gauge that was never set has no line. Series are addressed by their place in the contract; only members of a registry are
//! looked up by name.

mod members;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub use self::members::{MEMBERS_MAX, OTHER};

use self::members::Members;
use crate::contract::{Id, Kind, METRICS, Metric, Registry, Series};

/// What a gauge's slot holds until it is set: a NaN that no computation gives.
const UNSET: u64 = u64::MAX;

enum Piece {
    /// Text as it is.
    Text(String),
    /// A line: its text up to the value, and the slot of a counter.
    Count(String, usize),
    /// The same for a gauge; left out while unset.
    Gauge(String, usize),
    /// The same for a float that is always there (a histogram's sum).
    Sum(String, usize),
    /// Buckets, count: the line starts, and the slot of the first bucket.
    Buckets(Vec<String>, usize),
    /// An open family: its registry among [`Registry::OWN`], its row in the contract, its first slot of each member.
    Open(usize, usize, usize),
}

/// All series of one process.
pub struct Metrics {
    slots: Vec<AtomicU64>,
    first: Vec<usize>,
    pieces: Vec<Piece>,
    members: [Members; Registry::OWN.len()],
    length: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All series of the contract: counters and histograms at 0, gauges unset, open families without members.
    pub fn new() -> Self {
        let mut this = Self {
            slots: Vec::new(),
            first: Vec::new(),
            pieces: Vec::new(),
            members: Registry::OWN.map(Members::new),
            length: AtomicU64::new(16 * 1024),
        };
        for (row, metric) in METRICS.iter().enumerate() {
            this.name(metric);
            let open = members::registry(metric.series).and_then(place);
            if let Some(registry) = open {
                let first = this.members[registry].lay_out(row);
                this.first.push(first);
                this.pieces.push(Piece::Open(registry, row, first));
            } else {
                this.first.push(this.slots.len());
                this.lay_out(metric);
            }
        }
        this
    }

    fn name(&mut self, metric: &Metric) {
        let word = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let (name, help) = (metric.name, metric.help);
        self.pieces.push(Piece::Text(format!(
            "# HELP {name} {help}\n# TYPE {name} {word}\n"
        )));
    }

    fn lay_out(&mut self, metric: &Metric) {
        let (name, kind) = (metric.name, metric.kind);
        for labels in label_sets(metric.series) {
            let braced = if labels.is_empty() {
                String::new()
            } else {
                format!("{{{labels}}}")
            };
            let slot = self.slots.len();
            match kind {
                Kind::Counter => {
                    self.slots.push(AtomicU64::new(0));
                    self.pieces
                        .push(Piece::Count(format!("{name}{braced} "), slot));
                }
                Kind::Gauge => {
                    self.slots.push(AtomicU64::new(UNSET));
                    self.pieces
                        .push(Piece::Gauge(format!("{name}{braced} "), slot));
                }
                Kind::Histogram(bounds) => {
                    let comma = if labels.is_empty() { "" } else { "," };
                    let mut lines: Vec<String> = bounds
                        .iter()
                        .map(|bound| format!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} "))
                        .collect();
                    lines.push(format!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} "));
                    lines.push(format!("{name}_count{braced} "));
                    // One slot per bucket, `+Inf` among them, then the sum.
                    let buckets = bounds.len() + 1;
                    self.slots.extend((0..=buckets).map(|_| AtomicU64::new(0)));
                    self.pieces.push(Piece::Buckets(lines, slot));
                    self.pieces
                        .push(Piece::Sum(format!("{name}_sum{braced} "), slot + buckets));
                }
            }
        }
    }

    /// Adds to the only series of a counter.
    pub fn add(&self, id: Id, count: u64) {
        self.add_at(id, 0, count);
    }

    /// Adds one to a counter's series of this label value.
    pub fn inc(&self, id: Id, value: usize) {
        self.add_at(id, value, 1);
    }

    /// Adds to a counter's series of this label value.
    pub fn add_at(&self, id: Id, value: usize, count: u64) {
        self.slots[self.first[id as usize] + value].fetch_add(count, Relaxed);
    }

    /// Adds one to a counter's series of this pair of label values.
    pub fn inc_pair(&self, id: Id, outer: usize, inner: usize) {
        let Series::Pairs(_, _, _, values) = METRICS[id as usize].series else {
            return debug_assert!(false, "{id:?} has no pairs of labels");
        };
        self.add_at(id, outer * values.len() + inner, 1);
    }

    /// Sets the only series of a gauge.
    pub fn set(&self, id: Id, value: f64) {
        self.set_at(id, 0, value);
    }

    /// Sets a gauge's series of this label value.
    pub fn set_at(&self, id: Id, at: usize, value: f64) {
        self.slots[self.first[id as usize] + at].store(value.to_bits(), Relaxed);
    }

    /// A gauge's value; `None` until it is set.
    pub fn gauge(&self, id: Id, at: usize) -> Option<f64> {
        let bits = self.slots[self.first[id as usize] + at].load(Relaxed);
        (bits != UNSET).then(|| f64::from_bits(bits))
    }

    /// A counter's value.
    pub fn count(&self, id: Id, at: usize) -> u64 {
        self.slots[self.first[id as usize] + at].load(Relaxed)
    }

    /// Gives a member of a registry its series: counters at 0, gauges unset. If it has them, they stay as they are.
    pub fn admit(&self, registry: Registry, member: &str) {
        if let Some(at) = place(registry) {
            self.members[at].admit(member);
        }
    }

    /// Adds one to a member's series of this label value; 0 where the family has no other label.
    pub fn inc_of(&self, id: Id, member: &str, value: usize) {
        self.open(id, member, value, |slot| slot.fetch_add(1, Relaxed));
    }

    /// Sets a member's series of a gauge.
    pub fn set_of(&self, id: Id, member: &str, value: f64) {
        self.open(id, member, 0, |slot| slot.store(value.to_bits(), Relaxed));
    }

    fn open<T>(&self, id: Id, member: &str, value: usize, act: impl FnOnce(&AtomicU64) -> T) {
        let registry = members::registry(METRICS[id as usize].series).and_then(place);
        let Some(registry) = registry else {
            return debug_assert!(false, "{id:?} has no members");
        };
        self.members[registry].at(member, self.first[id as usize] + value, act);
    }

    /// Adds one value to the histogram's series of this label value.
    pub fn observe(&self, id: Id, at: usize, value: f64) {
        let Kind::Histogram(bounds) = METRICS[id as usize].kind else {
            return debug_assert!(false, "{id:?} is no histogram");
        };
        let slots = &self.slots[self.first[id as usize] + at * (bounds.len() + 2)..];
        let bucket = bounds.iter().position(|bound| value <= *bound);
        slots[bucket.unwrap_or(bounds.len())].fetch_add(1, Relaxed);
        let add = |sum| Some((f64::from_bits(sum) + value).to_bits());
        // `add` never gives `None`, so there is no error to handle.
        let _ = slots[bounds.len() + 1].fetch_update(Relaxed, Relaxed, add);
    }

    /// The page: Prometheus text exposition, version 0.0.4.
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(self.length.load(Relaxed) as usize + 256);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Count(line, slot) => {
                    out.push_str(line);
                    push_integer(&mut out, self.slots[*slot].load(Relaxed));
                }
                Piece::Gauge(line, slot) => {
                    let bits = self.slots[*slot].load(Relaxed);
                    if bits != UNSET {
                        out.push_str(line);
                        push_float(&mut out, f64::from_bits(bits));
                    }
                }
                Piece::Sum(line, slot) => {
                    out.push_str(line);
                    push_float(&mut out, f64::from_bits(self.slots[*slot].load(Relaxed)));
                }
                Piece::Open(registry, row, first) => {
                    self.members[*registry].render(*row, *first, &mut out);
                }
                Piece::Buckets(lines, first) => {
                    let mut total = 0;
                    for (at, line) in lines.iter().enumerate() {
                        // The last line is the count: the same total once more.
                        if at + 1 < lines.len() {
                            total += self.slots[first + at].load(Relaxed);
                        }
                        out.push_str(line);
                        push_integer(&mut out, total);
                    }
                }
            }
        }
        self.length.store(out.len() as u64, Relaxed);
        out
    }
}

/// Where the members of a registry are kept; none of one that is not the service's.
fn place(registry: Registry) -> Option<usize> {
    Registry::OWN.iter().position(|own| *own == registry)
}

fn label_sets(series: Series) -> Vec<String> {
    match series {
        Series::Each(_) | Series::EachPer(..) => Vec::new(),
        Series::One => vec![String::new()],
        Series::Per(label, values) => values
            .iter()
            .map(|value| format!("{label}=\"{value}\""))
            .collect(),
        Series::Pairs(outer, outers, inner, inners) => outers
            .iter()
            .flat_map(|a| {
                inners
                    .iter()
                    .map(move |b| format!("{outer}=\"{a}\",{inner}=\"{b}\""))
            })
            .collect(),
    }
}

fn push_integer(out: &mut String, mut value: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    // Digits are always UTF-8.
    out.push_str(std::str::from_utf8(&digits[at..]).unwrap_or_default());
    out.push('\n');
}

fn push_float(out: &mut String, value: f64) {
    use std::fmt::Write;
    if (0.0..1e15).contains(&value) && value.fract() == 0.0 {
        return push_integer(out, value as u64);
    }
    // Writing to a string cannot fail. The shortest decimal that reads back as the same number.
    let _ = writeln!(out, "{value}");
}
