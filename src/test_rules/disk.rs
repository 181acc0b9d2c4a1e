//! Test files and rule files from disk.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use alerts::unit::Files;

pub(crate) struct Disk;

impl Files for Disk {
    fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
        if !pattern.contains(['*', '?', '[']) {
            let there = Path::new(pattern).exists();
            return Ok(there.then(|| pattern.to_owned()).into_iter().collect());
        }
        // As in Go, a star stays inside one folder and sees hidden files.
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        let found = glob::glob_with(pattern, options).map_err(|error| error.to_string())?;
        let names = found.map(|path| match path {
            Ok(path) => Ok(path.display().to_string()),
            Err(error) => Err(error.to_string()),
        });
        names.collect()
    }

    fn read(&self, path: &str) -> Result<String, String> {
        fs::read_to_string(path).map_err(|error| error.to_string())
    }

    fn open(&self, path: &str) -> Option<Box<dyn BufRead + Send>> {
        // What is odd is read a second time, which a pipe cannot do.
        let again = fs::metadata(path).is_ok_and(|file| file.is_file());
        let mut file = again.then(|| fs::File::open(path).ok()).flatten()?;
        file.seek(SeekFrom::End(-1)).ok()?;
        let mut last = [0];
        file.read_exact(&mut last).ok()?;
        file.rewind().ok()?;
        (last == *b"\n").then(|| Box::new(BufReader::new(file)) as _)
    }
}
