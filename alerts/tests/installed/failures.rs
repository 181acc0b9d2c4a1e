//! Our verdict of a unit-test file on disk, in promtool's words.

use std::path::Path;

use alerts::unit::{Files, GroupResult, Options, Suite};

/// Files from disk.
struct Disk;

impl Files for Disk {
    fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
        let found = glob::glob(pattern).map_err(|error| error.to_string())?;
        Ok(found
            .flatten()
            .map(|path| path.display().to_string())
            .collect())
    }

    fn read(&self, path: &str) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| error.to_string())
    }
}

/// The failures of all tests of a file, as promtool writes them; refused files are one text.
pub fn failures(file: &Path) -> Result<String, String> {
    let suite = Suite::load(&file.display().to_string(), &Disk);
    let suite = suite.map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        texts.join("\n")
    })?;
    let tests = suite.tests.iter();
    let results: Vec<GroupResult> = tests
        .map(|test| suite.run(test, &Options::default()))
        .collect();
    let failures = results.iter().flat_map(|result| &result.failures);
    Ok(failures.map(|failure| format!("{failure}\n")).collect())
}
