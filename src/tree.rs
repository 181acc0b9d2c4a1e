//! A folder of text files by relative path: the program's own, embedded, or one from disk.
//!
//! Invariant: paths use `/` and come in rising order, so that the same files have the same hash wherever they lie. A folder is
//! read whole or refused whole: a file that is not UTF-8 or a folder without the wanted files is an error that names it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use include_dir::{Dir, DirEntry};
use sha2::{Digest, Sha256};

use crate::exit::Error;

/// Files of one kind below a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// What a message calls the folder: its path, or `built-in`; nothing for the current one of a single file.
    pub origin: String,
    /// Text by path relative to the folder.
    pub files: BTreeMap<String, String>,
}

impl Tree {
    /// Files with one of these extensions in an embedded folder.
    pub fn embedded(dir: &Dir<'_>, extensions: &[&str]) -> Tree {
        let mut files = BTreeMap::new();
        collect_embedded(dir, extensions, &mut files);
        Tree {
            origin: "built-in".into(),
            files,
        }
    }

    /// Files with one of these extensions in a folder on disk, subfolders included.
    ///
    /// # Errors
    /// A folder or file that cannot be read, a file that is not UTF-8, or no such file at all.
    pub fn read(root: &Path, extensions: &[&str]) -> Result<Tree, Error> {
        let mut files = BTreeMap::new();
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for path in entries(&folder)? {
                if path.is_dir() {
                    folders.push(path);
                } else if wanted(&path, extensions) {
                    let text =
                        fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
                    files.insert(relative(root, &path), text);
                }
            }
        }
        if files.is_empty() {
            let kinds: Vec<String> = extensions
                .iter()
                .map(|extension| format!("*.{extension}"))
                .collect();
            return Err(Error::Input(format!(
                "{}: no {} in this folder",
                root.display(),
                kinds.join(" or ")
            )));
        }
        Ok(Tree {
            origin: root.display().to_string(),
            files,
        })
    }

    /// One file, whatever its extension.
    ///
    /// # Errors
    /// A file that cannot be read or is not UTF-8.
    pub fn of_file(path: &Path) -> Result<Tree, Error> {
        let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Ok(Tree {
            origin: folder.display().to_string(),
            files: BTreeMap::from([(relative(folder, path), text)]),
        })
    }

    /// SHA-256 over paths and texts, in hex.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for (path, text) in &self.files {
            for part in [path, text] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        hash.finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// What a message calls one of the files.
    pub fn name(&self, path: &str) -> String {
        match &*self.origin {
            "" => path.to_owned(),
            "/" => format!("/{path}"),
            origin => format!("{origin}/{path}"),
        }
    }
}

fn collect_embedded(dir: &Dir<'_>, extensions: &[&str], files: &mut BTreeMap<String, String>) {
    for entry in dir.entries() {
        match entry {
            DirEntry::Dir(folder) => collect_embedded(folder, extensions, files),
            DirEntry::File(file) if wanted(file.path(), extensions) => {
                let text = String::from_utf8_lossy(file.contents()).into_owned();
                files.insert(relative(Path::new(""), file.path()), text);
            }
            DirEntry::File(_) => {}
        }
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let listing = fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let paths = listing.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = paths
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable(folder, &error))?;
    paths.sort();
    Ok(paths)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::Input(format!("{}: {error}", path.display()))
}

fn wanted(path: &Path, extensions: &[&str]) -> bool {
    path.extension()
        .is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted))
}

fn relative(root: &Path, path: &Path) -> String {
    let parts = path.strip_prefix(root).unwrap_or(path).components();
    let parts: Vec<_> = parts
        .map(|part| part.as_os_str().to_string_lossy())
        .collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (path, bytes) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("below the folder")).expect("created");
            fs::write(path, bytes).expect("written");
        }
        dir
    }

    #[test]
    fn the_hash_depends_on_paths_and_texts_and_not_on_where_the_folder_lies() {
        let hash = |files: &[(&str, &[u8])]| {
            let dir = folder(files);
            Tree::read(dir.path(), &["sql"]).expect("readable").sha256()
        };
        let base = hash(&[("a.sql", b"x"), ("sub/b.sql", b"y")]);
        assert_eq!(
            base,
            hash(&[
                ("sub/b.sql", b"y"),
                ("a.sql", b"x"),
                ("note.txt", b"ignored")
            ])
        );
        assert_ne!(base, hash(&[("a.sql", b"x"), ("b.sql", b"y")]));
        assert_ne!(base, hash(&[("a.sql", b"xy"), ("sub/b.sql", b"")]));
    }

    #[test]
    fn a_folder_that_cannot_serve_is_refused_with_its_name() {
        let empty = folder(&[("note.txt", b"x")]);
        let binary = folder(&[("a.yml", b"\xff\xfe")]);
        for (path, reason) in [
            (
                empty.path().to_path_buf(),
                "no *.yml or *.yaml in this folder",
            ),
            (binary.path().to_path_buf(), "UTF-8"),
            (empty.path().join("missing"), "No such file"),
        ] {
            let error = Tree::read(&path, &["yml", "yaml"]).expect_err("refused");
            let text = error.to_string();
            assert!(
                text.contains(reason) && text.contains(&*path.to_string_lossy()),
                "{text}"
            );
            assert_eq!(error.code(), crate::exit::USAGE);
        }
    }
}
