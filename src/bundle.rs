//! A bundle: one file with all that is needed to see a run again elsewhere, or to say why that is not possible.
//!
//! Form: a line `firedrill bundle 1`, a line of JSON (the header), then the recording's bytes.
//! Invariant: a bundle is read whole and checked (form, length, hash, every frame) before anything is simulated; it is only
//! replayed by the commit that wrote it, against the same rules and the same SQL, since anything else would compare two
//! programs and call it a divergence.

use std::path::Path;

use chaos::recording::Recording;
use serde::{Deserialize, Serialize};

use crate::exit::Error;

/// First line of the only form there is.
const MAGIC: &str = "firedrill bundle 1\n";

/// The program that writes bundles: its version and, where it was built from a repository, the commit.
pub const PROGRAM: &str = match option_env!("FIREDRILL_COMMIT") {
    Some(commit) => commit,
    None => env!("CARGO_PKG_VERSION"),
};

/// What a run was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Commit of the program, or its version where it was built outside a repository.
    pub commit: String,
    /// The scenario's name.
    pub scenario: String,
    /// The scenario's file, whole.
    pub scenario_text: String,
    /// The seed.
    pub seed: u64,
    /// Hash of the rule files.
    pub rules_sha256: String,
    /// Hash of the ledger's migrations and statements.
    pub ledger_sha256: String,
    /// Hash of the recording.
    pub recording_sha256: String,
    /// Its length in bytes.
    pub recording_bytes: u64,
}

/// A run that can be seen again.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// What it was made from.
    pub header: Header,
    /// What it left behind.
    pub recording: Recording,
}

impl Bundle {
    /// The file's bytes up to the recording's, which follow.
    pub fn head(header: &Header) -> String {
        match serde_json::to_string(header) {
            Ok(json) => format!("{MAGIC}{json}\n"),
            Err(error) => unreachable!("a header has only strings and numbers: {error}"),
        }
    }

    /// Reads a bundle from a file, or from `bundle.firedrill` in a folder of artefacts.
    ///
    /// # Errors
    /// What is wrong with the file, and where.
    pub fn read(path: &Path) -> Result<Bundle, Error> {
        let file = if path.is_dir() {
            path.join(crate::artefacts::BUNDLE)
        } else {
            path.to_path_buf()
        };
        let bytes = std::fs::read(&file)
            .map_err(|error| Error::Input(format!("{}: {error}", file.display())))?;
        Bundle::parse(&bytes)
            .map_err(|reason| Error::Input(format!("{}: {reason}", file.display())))
    }

    fn parse(bytes: &[u8]) -> Result<Bundle, String> {
        let rest = bytes.strip_prefix(MAGIC.as_bytes()).ok_or_else(|| {
            format!(
                "line 1: not a bundle of this form, which begins with `{}`",
                MAGIC.trim_end()
            )
        })?;
        let end = rest
            .iter()
            .position(|&byte| byte == b'\n')
            .ok_or("line 2: the header does not end")?;
        let (header, recording) = (&rest[..end], &rest[end + 1..]);
        let header: Header =
            serde_json::from_slice(header).map_err(|error| format!("line 2: {error}"))?;
        if recording.len() as u64 != header.recording_bytes {
            return Err(format!(
                "the recording has {} bytes where the header says {}: the file was cut or changed",
                recording.len(),
                header.recording_bytes
            ));
        }
        let recording = Recording::from_bytes(recording.to_vec())
            .map_err(|offset| format!("the recording's frame at byte {offset} does not decode"))?;
        if recording.sha256() != header.recording_sha256 {
            return Err(format!(
                "the recording's hash is {} where the header says {}: the file was changed",
                recording.sha256(),
                header.recording_sha256
            ));
        }
        Ok(Bundle { header, recording })
    }
}

impl Header {
    /// Refuses a bundle that another program, other rules or other SQL made.
    ///
    /// # Errors
    /// What differs, and what to do.
    pub fn admit(
        &self,
        commit: &str,
        rules_sha256: &str,
        ledger_sha256: &str,
    ) -> Result<(), Error> {
        let differences = [
            (
                "commit",
                &*self.commit,
                commit,
                "replay it with the firedrill built from that commit",
            ),
            (
                "rules",
                &*self.rules_sha256,
                rules_sha256,
                "name the rules it was recorded with: --rules DIR",
            ),
            (
                "SQL of the ledger",
                &*self.ledger_sha256,
                ledger_sha256,
                "name the SQL it was recorded with: --ledger DIR",
            ),
        ];
        for (what, theirs, ours, advice) in differences {
            if theirs != ours {
                return Err(Error::Input(format!(
                    "bundle of another {what}: it has {theirs}, here is {ours}; {advice}"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use chaos::recording::{Event, Recorder};

    use super::*;

    /// A recording with one evaluator frame per given time.
    pub(crate) fn recording(times: &[(u64, bool)]) -> Recording {
        let mut recorder = Recorder::default();
        for &(at, up) in times {
            recorder.push(at, Event::Evaluator(up));
        }
        recorder.finish()
    }

    fn bundle() -> Bundle {
        let recording = recording(&[(1_000, true), (2_000, false)]);
        let header = Header {
            commit: "c0ffee".into(),
            scenario: "cache-down".into(),
            scenario_text: "name = \"cache-down\"\n".into(),
            seed: 7,
            rules_sha256: "r".into(),
            ledger_sha256: "l".into(),
            recording_sha256: recording.sha256().into(),
            recording_bytes: recording.bytes().len() as u64,
        };
        Bundle { header, recording }
    }

    fn bytes(bundle: &Bundle) -> Vec<u8> {
        [
            Bundle::head(&bundle.header).as_bytes(),
            bundle.recording.bytes(),
        ]
        .concat()
    }

    #[test]
    fn a_bundle_reads_back_as_written() {
        let bundle = bundle();
        assert_eq!(Bundle::parse(&bytes(&bundle)), Ok(bundle));
    }

    #[test]
    fn a_damaged_bundle_is_refused_with_the_reason() {
        let whole = bytes(&bundle());
        let mut flipped = whole.clone();
        *flipped.last_mut().expect("not empty") ^= 1;
        let mut wrong_hash = bundle();
        wrong_hash.header.recording_sha256 = "00".into();
        let unknown_key = String::from_utf8_lossy(&whole).replace("\"seed\"", "\"sede\"");
        for (bytes, reason) in [
            (b"firedrill bundle 9\n{}\n".to_vec(), "line 1"),
            (whole[..MAGIC.len() + 5].to_vec(), "does not end"),
            (unknown_key.into_bytes(), "unknown field `sede`"),
            (whole[..whole.len() - 1].to_vec(), "cut or changed"),
            (flipped, "changed"),
            (bytes(&wrong_hash), "hash"),
        ] {
            let error = Bundle::parse(&bytes).expect_err("refused");
            assert!(error.contains(reason), "{error} should mention {reason}");
        }
    }

    #[test]
    fn every_cut_is_refused() {
        let whole = bytes(&bundle());
        for length in 0..whole.len() {
            assert!(
                Bundle::parse(&whole[..length]).is_err(),
                "cut to {length} bytes"
            );
        }
    }

    #[test]
    fn only_the_same_program_rules_and_sql_may_replay_it() {
        let header = bundle().header;
        assert_eq!(header.admit("c0ffee", "r", "l"), Ok(()));
        for (commit, rules, ledger, named) in [
            (
                "f00",
                "r",
                "l",
                "another commit: it has c0ffee, here is f00",
            ),
            ("c0ffee", "x", "l", "--rules"),
            ("c0ffee", "r", "x", "--ledger"),
        ] {
            let error = header.admit(commit, rules, ledger).expect_err("refused");
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
