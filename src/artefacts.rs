//! What `--output DIR` leaves: `DIR/<scenario>/<seed>/` with bundle and reports, `DIR/<scenario>/latest`, and the whole report.
//!
//! Invariant: a folder or file is there whole or not at all: it is written under another name beside its place and renamed.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use chaos::recording::Recording;

use crate::{
    bundle::{Bundle, Header},
    exit::Error,
    report::{Report, Run, json, text},
};

/// Name of the bundle in a run's folder.
pub const BUNDLE: &str = "bundle.firedrill";

/// Where artefacts go.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens a store, creating its folder.
    ///
    /// # Errors
    /// The folder can neither be found nor created, or is no folder.
    pub fn open(root: &Path) -> Result<Store, Error> {
        fs::create_dir_all(root)
            .map_err(|error| Error::Input(format!("{}: {error}", root.display())))?;
        Ok(Store {
            root: root.to_path_buf(),
        })
    }

    /// Where the bundle of a run is, or will be.
    pub fn bundle(&self, scenario: &str, seed: u64) -> PathBuf {
        self.root.join(scenario).join(seed.to_string()).join(BUNDLE)
    }

    /// Writes the folder of one run and points `latest` at it.
    ///
    /// # Errors
    /// The disk's, with the path.
    pub fn write_run(
        &self,
        run: &Run,
        header: &Header,
        recording: &Recording,
    ) -> Result<(), Error> {
        let folder = self.root.join(&run.scenario);
        let seed = run.seed.to_string();
        self.replace_folder(&folder, &seed, run, header, recording)
            .map_err(|error| Error::Internal(format!("{}/{seed}: {error}", folder.display())))
    }

    fn replace_folder(
        &self,
        folder: &Path,
        seed: &str,
        run: &Run,
        header: &Header,
        recording: &Recording,
    ) -> io::Result<()> {
        let (fresh, stale) = (
            folder.join(format!(".{seed}.new")),
            folder.join(format!(".{seed}.old")),
        );
        for leftover in [&fresh, &stale] {
            remove(leftover)?;
        }
        fs::create_dir_all(&fresh)?;
        let report = Report::new(vec![run.clone()]);
        let mut bundle = fs::File::create(fresh.join(BUNDLE))?;
        bundle.write_all(Bundle::head(header).as_bytes())?;
        bundle.write_all(recording.bytes())?;
        bundle.sync_all()?;
        fs::write(fresh.join("report.json"), json::render(&report))?;
        fs::write(
            fresh.join("report.txt"),
            text::render(&report, text::Style::default()),
        )?;
        let place = folder.join(seed);
        match fs::rename(&place, &stale) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::rename(&fresh, &place)?,
        }
        remove(&stale)?;
        let link = folder.join(format!(".latest.{seed}"));
        remove(&link)?;
        std::os::unix::fs::symlink(seed, &link)?;
        fs::rename(&link, folder.join("latest"))
    }

    /// Writes the report of all runs.
    ///
    /// # Errors
    /// The disk's, with the path.
    pub fn write_report(&self, report: &Report) -> Result<(), Error> {
        let forms = [
            ("report.json", json::render(report)),
            ("report.txt", text::render(report, text::Style::default())),
        ];
        for (name, text) in forms {
            let (fresh, place) = (self.root.join(format!(".{name}.new")), self.root.join(name));
            fs::write(&fresh, text)
                .and_then(|()| fs::rename(&fresh, &place))
                .map_err(|error| Error::Internal(format!("{}: {error}", place.display())))?;
        }
        Ok(())
    }
}

/// Refuses a place that is taken: what stands there may be somebody's only copy. An empty folder is a place for a folder.
///
/// # Errors
/// What stands there, and what to do.
pub fn vacant(place: &Path) -> Result<(), Error> {
    let taken = match fs::symlink_metadata(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(Error::Input(format!("{}: {error}", place.display()))),
        Ok(found) if found.is_dir() => fs::read_dir(place)
            .map_err(|error| Error::Input(format!("{}: {error}", place.display())))?
            .next()
            .is_some(),
        Ok(_) => true,
    };
    if taken {
        return Err(Error::Input(format!(
            "{} is there already and is not replaced: remove it, or name another place",
            place.display()
        )));
    }
    Ok(())
}

/// Writes a file that is there whole or not at all, in a place that [`vacant`] found free.
///
/// # Errors
/// The disk's, with the path, or what `write` returns.
pub fn write_file<T>(
    place: &Path,
    write: impl FnOnce(&mut io::BufWriter<fs::File>) -> Result<T, Error>,
) -> Result<T, Error> {
    let fresh = beside(place)?;
    let failed = |error: io::Error| Error::Internal(format!("{}: {error}", place.display()));
    let written = fs::File::create(&fresh).map_err(failed).and_then(|file| {
        let mut out = io::BufWriter::new(file);
        let result = write(&mut out)?;
        out.into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&fresh, place))
            .map_err(failed)?;
        Ok(result)
    });
    if written.is_err() {
        let _ = remove(&fresh);
    }
    written
}

/// Writes a folder of files, by relative path, that is there whole or not at all, in a place that [`vacant`] found free.
///
/// # Errors
/// The disk's, with the path.
pub fn write_folder(place: &Path, files: &BTreeMap<String, String>) -> Result<(), Error> {
    let fresh = beside(place)?;
    let write = || -> io::Result<()> {
        remove(&fresh)?;
        fs::create_dir_all(&fresh)?;
        for (path, text) in files {
            let path = fresh.join(path);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(path, text)?;
        }
        fs::rename(&fresh, place)
    };
    write().map_err(|error| {
        let _ = remove(&fresh);
        Error::Internal(format!("{}: {error}", place.display()))
    })
}

/// The hidden name beside a place under which its content is written; makes the folders above it.
fn beside(place: &Path) -> Result<PathBuf, Error> {
    let name = place.file_name().ok_or_else(|| {
        Error::Input(format!(
            "{}: this is no name of a file or folder",
            place.display()
        ))
    })?;
    let folder = place.parent().unwrap_or(Path::new(""));
    if !folder.as_os_str().is_empty() {
        fs::create_dir_all(folder)
            .map_err(|error| Error::Input(format!("{}: {error}", folder.display())))?;
    }
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".new");
    Ok(folder.join(hidden))
}

/// Removes a file, link or folder, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bundle, report::tests::run};

    fn files(root: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("readable") {
                let path = entry.expect("readable").path();
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                } else {
                    found.push(
                        path.strip_prefix(root)
                            .expect("below")
                            .display()
                            .to_string(),
                    );
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn a_run_leaves_its_folder_and_the_link_and_writing_again_replaces_it() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(&dir.path().join("store")).expect("opened");
        for (seed, times) in [
            (1, &[(5, true)][..]),
            (2, &[(6, true)]),
            (1, &[(7, true), (8, false)]),
        ] {
            let recording = bundle::tests::recording(times);
            let header = Header {
                commit: "c".into(),
                scenario: "cache-down".into(),
                scenario_text: String::new(),
                seed,
                rules_sha256: "r".into(),
                ledger_sha256: "l".into(),
                recording_sha256: recording.sha256().into(),
                recording_bytes: recording.bytes().len() as u64,
            };
            // What a run that was cut off left behind is no obstacle.
            fs::create_dir_all(store.root.join(format!("cache-down/.{seed}.new/x")))
                .expect("created");
            store
                .write_run(&run("cache-down", seed), &header, &recording)
                .expect("written");
            let read = Bundle::read(&store.bundle("cache-down", seed)).expect("readable");
            assert_eq!(read, Bundle { header, recording });
            assert_eq!(
                Bundle::read(&store.root.join("cache-down/latest")),
                Ok(read)
            );
        }
        store
            .write_report(&Report::new(vec![run("cache-down", 1)]))
            .expect("written");
        let expected = [
            "1/bundle.firedrill",
            "1/report.json",
            "1/report.txt",
            "2/bundle.firedrill",
            "2/report.json",
            "2/report.txt",
            "latest",
        ];
        let mut expected: Vec<String> = expected
            .iter()
            .map(|path| format!("cache-down/{path}"))
            .collect();
        expected.extend(["report.json".to_owned(), "report.txt".to_owned()]);
        assert_eq!(files(&store.root), expected);
    }

    #[test]
    fn a_file_in_the_place_of_the_store_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let file = dir.path().join("file");
        fs::write(&file, "x").expect("written");
        assert_eq!(
            Store::open(&file).expect_err("refused").code(),
            crate::exit::USAGE
        );
    }
}
