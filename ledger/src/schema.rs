//! The SQL of the ledger as text: roles, migrations, statements. The binary, the simulation and the tests read it here.
//!
//! Names are file stems, in order; nothing is parsed.

use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

static MIGRATIONS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/migrations");
static STATEMENTS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/sql");

/// All SQL text of one version of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// Roles of the cluster, created by its administrator.
    pub bootstrap: String,
    /// `(name, text)` in the order in which they run.
    pub migrations: Vec<(String, String)>,
    /// `(name, text)` of the statements, by name.
    pub statements: Vec<(String, String)>,
}

/// Why SQL text could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A file or folder could not be read.
    #[error("{path}: {source}")]
    Read {
        /// What was being read.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A folder that must hold `.sql` files holds none.
    #[error("{0}: no .sql file")]
    Empty(PathBuf),
    /// A statement that the service needs is not there.
    #[error("sql/{0}.sql is missing: the service needs it")]
    Missing(String),
    /// A statement that no code uses: most likely a misspelt name.
    #[error("sql/{0}.sql is unknown: the service has no such statement")]
    Unknown(String),
    /// The same name twice.
    #[error("sql/{0}.sql is there twice")]
    Duplicate(String),
}

/// The SQL that was compiled in.
pub fn embedded() -> Schema {
    Schema {
        bootstrap: include_str!("../bootstrap.sql").to_owned(),
        migrations: embedded_files(&MIGRATIONS),
        statements: embedded_files(&STATEMENTS),
    }
}

/// The SQL below `dir`, laid out as the ledger's own folder: `bootstrap.sql`, `migrations/*.sql`, `sql/*.sql`.
///
/// # Errors
/// A file that cannot be read, or a folder without `.sql` files.
pub fn from_dir(dir: &Path) -> Result<Schema, SchemaError> {
    Ok(Schema {
        bootstrap: read(&dir.join("bootstrap.sql"))?,
        migrations: files(&dir.join("migrations"))?,
        statements: files(&dir.join("sql"))?,
    })
}

fn embedded_files(dir: &Dir<'_>) -> Vec<(String, String)> {
    let mut all: Vec<_> = dir
        .files()
        .filter_map(|file| Some((stem(file.path())?, file.contents_utf8()?.to_owned())))
        .collect();
    all.sort();
    all
}

fn files(dir: &Path) -> Result<Vec<(String, String)>, SchemaError> {
    let failed = |source| SchemaError::Read {
        path: dir.to_owned(),
        source,
    };
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let Some(name) = stem(&path) {
            all.push((name, read(&path)?));
        }
    }
    if all.is_empty() {
        return Err(SchemaError::Empty(dir.to_owned()));
    }
    all.sort();
    Ok(all)
}

fn stem(path: &Path) -> Option<String> {
    (path.extension()? == "sql").then(|| path.file_stem()?.to_str().map(str::to_owned))?
}

fn read(path: &Path) -> Result<String, SchemaError> {
    std::fs::read_to_string(path).map_err(|source| SchemaError::Read {
        path: path.to_owned(),
        source,
    })
}
