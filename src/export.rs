//! What others' tools get from a run: its recording as OpenMetrics, and its expectation as a unit test for promtool.
//!
//! Invariant: a file is there whole or not at all, and nothing that stands somewhere is replaced. A unit test is written of a
//! run that passes alone: one of a failing run would pin the failure.

mod looks;
mod unit;

use std::{
    collections::BTreeMap,
    io::{BufWriter, ErrorKind, Write},
    path::Path,
    sync::Arc,
};

use alerts::{openmetrics, promql::Source};
use chaos::recording::Recording;

use crate::{
    artefacts,
    books::Books,
    bundle::{Bundle, PROGRAM},
    exit::Error,
    inputs::Inputs,
    jobs::{self, Job},
    observe, pipeline,
};

pub use unit::{Outcome, UnitTest, unit_test};

/// A recording, and what it is one of.
pub struct Recorded {
    job: Job,
    recording: Recording,
}

impl Recorded {
    /// The recording of a scenario (by its name, under `seed`) or of a bundle (by its path).
    ///
    /// # Errors
    /// Neither a scenario nor a bundle, a bundle of another program, or what a run refuses.
    pub fn find(what: &str, seed: u64, inputs: &Inputs) -> Result<Recorded, Error> {
        let path = Path::new(what);
        let job = match jobs::plan(inputs, &[what.to_owned()], &[seed]) {
            Ok(mut jobs) => jobs.swap_remove(0),
            Err(_) if path.exists() => {
                let Bundle { header, recording } = Bundle::read(path)?;
                // What it was judged against does not matter here, but only the same program reads its frames for certain.
                header.admit(PROGRAM, &header.rules_sha256, &header.ledger_sha256)?;
                let job = jobs::of_bundle(&header)?;
                return Ok(Recorded { job, recording });
            }
            Err(Error::Input(reason)) => {
                return Err(Error::Input(format!(
                    "{reason}\nnor is there a bundle {what}"
                )));
            }
            Err(error) => return Err(error),
        };
        let plan = Arc::new(job.scenario.compile(seed));
        let recording = pipeline::record(&plan, inputs, &mut Books::default())?;
        Ok(Recorded { job, recording })
    }

    /// Writes its scrapes as OpenMetrics; answers a sentence about what was written.
    ///
    /// # Errors
    /// A series that the format cannot hold, or the output's.
    pub fn write_openmetrics(&self, out: &mut impl Write) -> Result<String, Error> {
        let Job { scenario, seed, .. } = &self.job;
        let duration = scenario.compile(*seed).duration;
        let observed = observe::observe(&self.recording, duration).map_err(Error::Internal)?;
        let mut out = Counted { out, bytes: 0 };
        let source = Source::new(observed.ingest.store());
        let written = openmetrics::write(&source, |_| true, &mut out)
            .map_err(|error| Error::Internal(format!("output: {error}")))?;
        let (from, to) = (observed.schedule.start_ms, observed.schedule.end_ms);
        Ok(format!(
            "{} seed {seed}: {} series, {} samples, {:.1} MB, from {} to {} in Unix seconds; {} stale markers are left out, which \
             OpenMetrics cannot hold",
            scenario.name,
            written.series,
            written.samples,
            out.bytes as f64 / 1e6,
            from / 1_000,
            to / 1_000,
            written.stale_markers
        ))
    }
}

/// Standard output; once it is closed, it takes everything and keeps nothing.
struct Willing<W>(W);

impl<W: Write> Write for Willing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(bytes.len()),
            result => result,
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}

/// Counts what passes.
struct Counted<W> {
    out: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let taken = self.out.write(bytes)?;
        self.bytes += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Writes a recording to a file, or to standard output; answers a sentence about what was written. Who closed standard output
/// has read enough.
///
/// # Errors
/// What [`Recorded::write_openmetrics`] returns.
pub fn openmetrics(recorded: &Recorded, place: Option<&Path>) -> Result<String, Error> {
    if let Some(place) = place {
        return artefacts::write_file(place, |out| recorded.write_openmetrics(out));
    }
    let mut out = BufWriter::new(Willing(std::io::stdout().lock()));
    let said = recorded.write_openmetrics(&mut out)?;
    out.flush()
        .map_err(|error| Error::Internal(format!("standard output: {error}")))?;
    Ok(said)
}

/// Writes unit tests beside a copy of the rules that they test.
///
/// # Errors
/// The disk's, with the path.
pub fn write_tests(place: &Path, inputs: &Inputs, tests: &[UnitTest]) -> Result<(), Error> {
    let rules = inputs.rule_files.files.iter();
    let mut files: BTreeMap<String, String> = rules
        .map(|(path, text)| (format!("{RULES}/{path}"), text.clone()))
        .collect();
    for test in tests {
        files.insert(format!("{}.yml", test.scenario), test.text.clone());
    }
    artefacts::write_folder(place, &files)
}

/// Folder of the copied rules.
const RULES: &str = "rules";
