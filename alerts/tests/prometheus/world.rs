//! Series over an hour: random ones, what a scrape leaves behind and what it should not, and an hour of recorded ones.
//!
//! Worlds of a seed lie far apart in time, so that one server holds all of them. In a world *on the grid* samples and queries
//! share instants, so that bounds of ranges are touched. Off the grid no bound meets a sample: samples lie within the first
//! half of a second, queries at half seconds, steps of subqueries at whole ones. Prometheus 2 counts both bounds of a range
//! in, Prometheus 3 the later one only, and off the grid they see the same.

use std::collections::BTreeMap;

use alerts::labels::{Labels, NAME};
use alerts::notation::{self, Value};
use alerts::number::STALE;
use alerts::openmetrics;
use alerts::promql::Source;
use alerts::series::SeriesStore;

use crate::blocks;
use crate::dice::Dice;
use crate::remote_write;
use crate::server::{Installation, Server};

/// Length of a world.
pub const LENGTH_MS: i64 = 3_600_000;
/// From one world to the next: more than any query looks back or forward.
const DISTANCE_MS: i64 = 10 * LENGTH_MS;
/// Begin of the first world: a whole number of days.
const EPOCH_MS: i64 = 1_699_920_000_000;
/// Worlds of a seed; the first half goes into blocks, the other is written to the running server.
const WORLDS: i64 = 12;
/// A server takes samples at most an hour older than its newest: series are sent in slices of this length.
const SLICE_MS: i64 = LENGTH_MS / 4;

/// An hour of series.
pub struct World {
    pub start_ms: i64,
    pub grid: bool,
    pub store: SeriesStore,
}

/// All worlds of a seed.
pub fn worlds(seed: u64) -> Vec<World> {
    (0..WORLDS)
        .map(|number| {
            if number == 0 {
                return recorded(EPOCH_MS);
            }
            let written = number >= WORLDS / 2;
            let mut maker = Maker {
                dice: Dice::new(seed, number as u64),
                start_ms: EPOCH_MS + number * DISTANCE_MS,
                grid: number % 2 == 1,
                stale: written,
                store: SeriesStore::new(),
            };
            maker.fill();
            World {
                start_ms: maker.start_ms,
                grid: maker.grid,
                store: maker.store,
            }
        })
        .collect()
}

/// What was scraped, each sample in the first half of its second.
fn recorded(start_ms: i64) -> World {
    let mut store = SeriesStore::new();
    let lines = include_str!("recorded.txt").lines();
    for line in lines.filter(|line| !line.starts_with('#')) {
        let (offset_s, series) = line.split_once(' ').expect("an offset");
        let offset_s: i64 = offset_s.parse().expect("seconds");
        let (labels, values) = notation::series(series).expect("a series");
        let instants = (0..).map(|at| start_ms + (offset_s + 15 * at) * 1_000 + 250);
        let samples = instants
            .zip(values.iter())
            .filter_map(|(t_ms, value)| match value {
                Value::Number(value) => Some((t_ms, value)),
                _ => None,
            });
        store.extend(&labels, samples).expect("instants grow");
    }
    World {
        start_ms,
        grid: false,
        store,
    }
}

/// Starts a server that holds these worlds.
pub fn start(installation: &Installation, worlds: &[World]) -> Server {
    let (blocks, written) = worlds.split_at(worlds.len() / 2);
    let mut text = Vec::new();
    let source = Source::layered(blocks.iter().map(|world| &world.store).collect());
    let told = openmetrics::write(&source, |_| true, &mut text).expect("writable");
    assert_eq!(told.stale_markers, 0, "blocks cannot hold stale markers");
    let server = blocks::serve(installation, &text);
    for world in written {
        write(
            &server,
            &world.store,
            world.start_ms,
            world.start_ms + 2 * LENGTH_MS,
        );
    }
    server
}

/// Writes a store's samples of this time to a running server, markers included.
pub fn write(server: &Server, store: &SeriesStore, from_ms: i64, to_ms: i64) {
    for slice in (from_ms..to_ms).step_by(SLICE_MS as usize) {
        let series = store.all().map(|series| {
            let samples = store.samples(series, slice - 1, slice + SLICE_MS - 1);
            let pairs = samples.t_ms.into_iter().zip(samples.values).collect();
            (store.labels(series), pairs)
        });
        remote_write::send(server, &remote_write::request(series));
    }
}

struct Maker {
    dice: Dice,
    start_ms: i64,
    grid: bool,
    stale: bool,
    store: SeriesStore,
}

/// How a series moves.
#[derive(Clone, Copy)]
enum Shape {
    Counter,
    FineCounter,
    Gauge,
    Wild,
    Flag,
    One,
}

impl Maker {
    fn fill(&mut self) {
        use Shape::*;
        for job in ["api", "web"] {
            for instance in ["a:1", "b:1"] {
                let target = [("job", job), ("instance", instance)];
                for code in ["200", "404", "500"] {
                    let labels = [target[0], target[1], ("code", code)];
                    self.series("hits_total", &labels, Counter, 80);
                    self.series("errors_total", &labels, FineCounter, 40);
                }
                self.series("up", &target, Flag, 95);
                self.series("load", &target, Gauge, 90);
                self.series("heat", &target, Wild, 80);
                self.series("start_time_seconds", &target, Wild, 30);
            }
            for version in ["1.0", "1.1"] {
                self.series("build_info", &[("job", job), ("version", version)], One, 60);
            }
            self.buckets(
                "latency_seconds",
                job,
                &["0.1", "0.5", "1", "2.5", "+Inf"],
                true,
            );
            let odd = ["-1", "0.5", "0.50", "1", "x", "+Inf", "Inf", ""];
            let odd = self.dice.some(&odd, 70);
            self.buckets("odd", job, &odd, false);
        }
        for value in ["1", "2", "tab\t", "line\nfeed", "é"] {
            self.series("a", &[("x", value)], Gauge, 60);
            self.series("b", &[("x", value)], Wild, 60);
            self.series("b", &[("x", value), ("y", "1")], Counter, 30);
        }
        self.series("a", &[], Gauge, 50);
    }

    fn instants(&mut self) -> Vec<i64> {
        let step_ms = self.dice.pick(&[15_000, 15_000, 30_000, 60_000]);
        let ragged = self.dice.percent(15);
        let phase_ms = match self.grid {
            true if self.dice.percent(70) => 0,
            true => 1_000 * self.dice.below(step_ms / 1_000),
            false => 1_000 * self.dice.below(step_ms / 1_000) + 1 + self.dice.below(498),
        };
        let late = match self.dice.percent(20) {
            true => self.dice.below(LENGTH_MS / 2),
            false => 0,
        };
        let mut out = Vec::new();
        let mut t_ms = phase_ms;
        while t_ms < LENGTH_MS {
            if t_ms >= late {
                out.push(self.start_ms + t_ms);
            }
            let skipped = match ragged {
                true => 1_000 * self.dice.below(200),
                false => 0,
            };
            t_ms += step_ms + skipped;
        }
        out
    }

    fn series(&mut self, name: &str, labels: &[(&str, &str)], shape: Shape, chance: i64) {
        if self.dice.percent(chance) {
            let instants = self.instants();
            let values = self.values(shape, instants.len());
            self.append(name, labels, &instants, &values);
        }
    }

    fn values(&mut self, shape: Shape, count: usize) -> Vec<f64> {
        let dice = &mut self.dice;
        let mut now = match shape {
            Shape::Counter => dice.below(20) as f64,
            Shape::FineCounter => dice.below(1_000) as f64 / 7.0,
            _ => dice.below(100) as f64,
        };
        let busy = dice.pick(&[5, 50, 95]);
        (0..count)
            .map(|_| {
                match shape {
                    Shape::Counter if dice.percent(busy) => now += dice.below(50) as f64,
                    Shape::FineCounter if dice.percent(busy) => {
                        now += dice.below(1_000) as f64 / 13.0
                    }
                    Shape::Gauge if dice.percent(busy) => now += (dice.below(41) - 20) as f64 / 4.0,
                    Shape::Flag if dice.percent(5) => now = dice.below(2) as f64,
                    Shape::Flag if now > 1.0 => now = 1.0,
                    Shape::One => now = 1.0,
                    _ => {}
                }
                match shape {
                    Shape::Counter | Shape::FineCounter if dice.percent(2) => {
                        now = dice.below(5) as f64;
                    }
                    Shape::Wild => {
                        let fine = dice.below(2_000_000) as f64 / 997.0 - 1_000.0;
                        let odd = [
                            f64::NAN,
                            f64::INFINITY,
                            f64::NEG_INFINITY,
                            0.0,
                            -0.0,
                            1e300,
                            1e-300,
                        ];
                        now = match dice.percent(6) {
                            true => dice.pick(&odd),
                            false => fine,
                        };
                    }
                    _ => {}
                }
                now
            })
            .collect()
    }

    /// Cumulative buckets that share their instants, or, where not `good`, neither.
    fn buckets(&mut self, name: &str, job: &str, bounds: &[&str], good: bool) {
        let shared = self.instants();
        let mut below = vec![0.0; shared.len()];
        for bound in bounds {
            let instants = match good {
                true => shared.clone(),
                false => self.instants(),
            };
            let own = self.values(Shape::Counter, instants.len());
            let values: Vec<f64> = match good {
                true => below.iter().zip(&own).map(|(low, own)| low + own).collect(),
                false => own,
            };
            let labels = [("job", job), ("le", bound)];
            self.append(&format!("{name}_bucket"), &labels, &instants, &values);
            below = values;
        }
        if good {
            self.append(&format!("{name}_count"), &[("job", job)], &shared, &below);
            let sums: Vec<f64> = below.iter().map(|count| count * 0.375).collect();
            self.append(&format!("{name}_sum"), &[("job", job)], &shared, &sums);
        }
    }

    /// Writes the samples, with gaps: silent ones, and ones that a stale marker begins.
    fn append(&mut self, name: &str, labels: &[(&str, &str)], instants: &[i64], values: &[f64]) {
        let mut pairs: BTreeMap<&str, &str> = labels.iter().copied().collect();
        pairs.insert(NAME, name);
        let labels = Labels::of(&pairs.into_iter().collect::<Vec<_>>());
        let mut absent = 0;
        for (t_ms, value) in instants.iter().zip(values) {
            let mut value = *value;
            if absent > 0 {
                absent -= 1;
                continue;
            }
            if self.dice.below(150) == 0 {
                absent = self.dice.below(40);
                if !self.stale {
                    continue;
                }
                value = STALE;
            }
            self.store
                .append(&labels, *t_ms, value)
                .expect("instants grow");
        }
    }
}
