//! The ledger's SQL, loaded once: the schema that the migrations make, and the statement files.
//!
//! Invariant: an image exists only if every file was understood whole and every migration ran; otherwise each file's first error
//! is reported with its place. Databases are made from an image without running anything again.

use std::{collections::BTreeMap, sync::Arc};

use ledger::ports::SessionSettings;

use super::{
    catalog::Catalog,
    database::Database,
    error::{PgError, SqlError},
    heap::Store,
    parse::{self, Parsed},
    request::DbConfig,
    statement,
};
use crate::recording::EPOCH_UNIX_S;

/// One SQL file.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// File name, shown in errors; a statement's name is its stem.
    pub file: &'a str,
    /// The text.
    pub text: &'a str,
}

impl Source<'_> {
    fn stem(&self) -> &str {
        let name = self.file.rsplit('/').next().unwrap_or(self.file);
        name.strip_suffix(".sql").unwrap_or(name)
    }

    fn error(&self, error: &PgError, at: (u64, u64)) -> SqlError {
        let (line, column) = if error.at == (0, 0) { at } else { error.at };
        SqlError {
            file: self.file.into(),
            line,
            column,
            reason: format!("{} ({})", error.message, error.sqlstate),
        }
    }
}

/// What a new database starts with.
#[derive(Clone, Default)]
pub struct Seed {
    pub catalog: Arc<Catalog>,
    pub store: Store,
    pub sequences: BTreeMap<u32, i64>,
}

/// The ledger's schema and statements, ready to run.
#[derive(Default)]
pub struct Image {
    seed: Seed,
    names: BTreeMap<Arc<str>, usize>,
    statements: Vec<(Arc<str>, Arc<Parsed>)>,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image")
            .field("statements", &self.names.keys())
            .finish_non_exhaustive()
    }
}

impl Image {
    /// Loads the files: `bootstrap` as the superuser `postgres`, the migrations in their order as `ledger_owner`, at the wall
    /// time at which every run begins.
    ///
    /// # Errors
    /// The first error of each file: syntax outside the subset, or what PostgreSQL would refuse.
    pub fn load(
        bootstrap: Source<'_>,
        migrations: &[Source<'_>],
        statements: &[Source<'_>],
    ) -> Result<Arc<Image>, Vec<SqlError>> {
        let mut database = Database::new(Arc::new(Image::default()), DbConfig::default());
        let mut errors = Vec::new();
        errors.extend(run_source(&mut database, "postgres", bootstrap).err());
        for migration in migrations {
            if errors.is_empty() {
                errors.extend(run_source(&mut database, "ledger_owner", *migration).err());
            }
        }
        let mut image = Image {
            seed: database.into_seed(),
            ..Image::default()
        };
        let ran = errors.is_empty();
        for source in statements {
            match image.add_statement(*source, ran) {
                Ok(()) => {}
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            Ok(Arc::new(image))
        } else {
            Err(errors)
        }
    }

    fn add_statement(&mut self, source: Source<'_>, compile: bool) -> Result<(), SqlError> {
        let parsed =
            parse::statements(source.text).map_err(|error| source.error(&error, (1, 1)))?;
        let [parsed] = <[Parsed; 1]>::try_from(parsed).map_err(|_| {
            let error = PgError::new("42601", "a statement file holds exactly one statement");
            source.error(&error, (1, 1))
        })?;
        if compile {
            statement::compile(&self.seed.catalog, "postgres", &parsed)
                .map_err(|error| source.error(&error, parsed.at))?;
        }
        let name: Arc<str> = source.stem().into();
        self.names.insert(name.clone(), self.statements.len());
        self.statements.push((name, Arc::new(parsed)));
        Ok(())
    }

    /// Names of the statement files.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.keys()
    }

    pub(super) fn seed(&self) -> &Seed {
        &self.seed
    }

    pub(super) fn statement(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    pub(super) fn statements(&self) -> &[(Arc<str>, Arc<Parsed>)] {
        &self.statements
    }
}

/// Runs a source statement by statement, so that an error has its statement's place.
fn run_source(database: &mut Database, role: &str, source: Source<'_>) -> Result<(), SqlError> {
    let parsed = parse::statements(source.text).map_err(|error| source.error(&error, (1, 1)))?;
    let limits = SessionSettings {
        statement_timeout: Default::default(),
        lock_timeout: Default::default(),
    };
    let session = database
        .open(role, limits)
        .map_err(|error| source.error(&PgError::new("28000", error.to_string()), (1, 1)))?;
    for statement in parsed {
        let at = statement.at;
        let placed = |error: &PgError| source.error(error, at);
        database
            .run_parsed(session, statement, EPOCH_UNIX_S * 1_000_000)
            .map_err(|error| placed(&error))?;
    }
    database.close(session);
    Ok(())
}
