//! Brings a database to the current schema. Each migration runs once, in order; one that was changed after it had run is refused.

use std::str::FromStr;

use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
    postgres::PgConnectOptions,
};

use crate::schema::Schema;

/// Why the database could not be brought to the schema.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A file's name does not begin with a number and `_`.
    #[error("migrations/{0}.sql: the name must be <number>_<words>")]
    Name(String),
    /// The connection, or a role could not be created.
    #[error("{0}")]
    Database(#[from] sqlx::Error),
    /// A migration failed, or was changed after it had run.
    #[error("{0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

/// Creates the cluster's roles, once; `url` is of its administrator. Roles that exist stay as they are.
///
/// # Errors
/// The connection, or a statement of `bootstrap.sql`.
pub async fn bootstrap(url: &str, schema: &Schema) -> Result<(), MigrateError> {
    let mut connection = PgConnection::connect(url).await?;
    // Statements one by one, so that those of roles that exist can be passed over. No semicolon is inside of one.
    let code: String = schema
        .bootstrap
        .lines()
        .filter(|line| !line.starts_with("--"))
        .collect();
    for statement in code.split(';').filter(|text| !text.trim().is_empty()) {
        match connection
            .execute(AssertSqlSafe(statement.to_owned()))
            .await
        {
            Ok(_) => {}
            // duplicate_object
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42710") => {}
            // Two administrators at once: unique_violation in the catalogue.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("23505") => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(connection.close().await?)
}

/// Runs the migrations that have not run yet; `url` is of the schema's owner (`ledger_owner`).
///
/// # Errors
/// The connection, a file's name, or a migration.
pub async fn migrate(url: &str, schema: &Schema) -> Result<(), MigrateError> {
    let migrations = schema
        .migrations
        .iter()
        .map(|(name, text)| {
            let parts = name.split_once('_');
            let (number, words) = parts.ok_or_else(|| MigrateError::Name(name.clone()))?;
            let version = number
                .parse()
                .map_err(|_| MigrateError::Name(name.clone()))?;
            let text = AssertSqlSafe(text.clone()).into_sql_str();
            Ok(Migration::new(
                version,
                words.to_owned().into(),
                MigrationType::Simple,
                text,
                false,
            ))
        })
        .collect::<Result<Vec<_>, MigrateError>>()?;
    let mut connection = PgConnection::connect_with(&PgConnectOptions::from_str(url)?).await?;
    Migrator::with_migrations(migrations)
        .run(&mut connection)
        .await?;
    Ok(connection.close().await?)
}
