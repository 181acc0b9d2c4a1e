//! Replay: simulates a bundle's scenario again and compares frame by frame.
//!
//! Invariant: a bundle that another program, other rules or other SQL made is refused before anything is simulated; a replay
//! that diverges is no verdict but an error of the program, with the first frame that differs.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
};

use chaos::recording::{Frame, Recording};

use crate::{
    bundle::{Bundle, PROGRAM},
    exit::Error,
    inputs::Inputs,
    jobs::{self, Job, Options},
    report::Report,
};

/// A bundle that may be replayed here.
pub struct Recorded {
    bundle: Bundle,
    job: Job,
    path: PathBuf,
}

impl Recorded {
    /// Reads a bundle and checks that this program, with these inputs, is what made it.
    ///
    /// # Errors
    /// A bundle that cannot be read, or another program's.
    pub fn read(path: &Path, inputs: &Inputs) -> Result<Recorded, Error> {
        let bundle = Bundle::read(path)?;
        bundle
            .header
            .admit(PROGRAM, &inputs.rules_sha256, &inputs.ledger_sha256)?;
        let job = jobs::of_bundle(&bundle.header)?;
        Ok(Recorded {
            bundle,
            job,
            path: path.to_path_buf(),
        })
    }

    /// Runs it again; the report is the replayed run's.
    ///
    /// # Errors
    /// The first frame at which the two recordings differ, or what [`jobs::one`] refuses.
    pub fn replay(&self, inputs: &Inputs, options: &Options) -> Result<Report, Error> {
        let (run, recording) = jobs::one(inputs, &self.job, options)?;
        if let Some(difference) = first_difference(&self.bundle.recording, &recording) {
            return Err(Error::Internal(format!(
                "the replay of {} diverged at {difference}",
                self.path.display()
            )));
        }
        if !options.quiet {
            let _ = writeln!(
                std::io::stderr(),
                "replayed {} frames: identical",
                recording.frames()
            );
        }
        jobs::keep(inputs, &self.job, options, &run, &recording)?;
        Ok(Report::new(vec![run]))
    }
}

/// The first frame that differs: its number from 0, its virtual time, and both versions. `None` if there is none.
pub fn first_difference(recorded: &Recording, replayed: &Recording) -> Option<String> {
    if recorded.bytes() == replayed.bytes() {
        return None;
    }
    let (mut left, mut right) = (recorded.iter(), replayed.iter());
    for index in 0u64.. {
        let (a, b) = (left.next(), right.next());
        if a == b && a.is_some() {
            continue;
        }
        let at = a
            .iter()
            .chain(&b)
            .map(|frame| frame.at)
            .min()
            .unwrap_or_default();
        let mut text = format!(
            "frame {index}, {}.{:09} s",
            at / 1_000_000_000,
            at % 1_000_000_000
        );
        let _ = write!(
            text,
            "\n  recorded: {}\n  replayed: {}",
            show(a.as_ref()),
            show(b.as_ref())
        );
        return Some(text);
    }
    None
}

fn show(frame: Option<&Frame>) -> String {
    let Some(frame) = frame else {
        return "(ended)".into();
    };
    let text = format!("{:?}", frame.event);
    match text.char_indices().nth(600) {
        Some((cut, _)) => format!("{}… ({} characters)", &text[..cut], text.chars().count()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::bundle::tests::recording;

    #[test]
    fn the_first_frame_that_differs_is_named_with_its_time_and_both_versions() {
        let recorded = recording(&[(1, true), (2_500_000_000, false), (9_000_000_000, true)]);
        let check = |frames: &[(u64, bool)]| first_difference(&recorded, &recording(frames));
        assert_eq!(
            check(&[(1, true), (2_500_000_000, false), (9_000_000_000, true)]),
            None
        );
        expect![[r#"
            frame 1, 2.500000000 s
              recorded: Evaluator(false)
              replayed: Evaluator(true)"#]]
        .assert_eq(&check(&[(1, true), (2_500_000_000, true), (7, true)]).expect("differs"));
        expect![[r#"
            frame 2, 9.000000000 s
              recorded: Evaluator(true)
              replayed: (ended)"#]]
        .assert_eq(&check(&[(1, true), (2_500_000_000, false)]).expect("differs"));
        expect![[r#"
            frame 1, 2.400000000 s
              recorded: Evaluator(false)
              replayed: Evaluator(false)"#]]
        .assert_eq(
            &check(&[(1, true), (2_400_000_000, false), (9_000_000_000, true)]).expect("differs"),
        );
        let longer = [
            (1, true),
            (2_500_000_000, false),
            (9_000_000_000, true),
            (9_000_000_001, false),
        ];
        expect![[r#"
            frame 3, 9.000000001 s
              recorded: (ended)
              replayed: Evaluator(false)"#]]
        .assert_eq(&check(&longer).expect("differs"));
    }
}
