//! A rig for tests: named sessions on one database, each step answered as one line of text.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use ledger::ports::{DbError, Rows, SessionSettings, Value};
use uuid::Uuid;

use super::super::{Database, DbConfig, Image, Output, Request, SessionId, Source, SqlError};
use crate::recording::Nanos;

pub const TENANT: Uuid = Uuid::from_u128(0xA);
pub const MS: Nanos = 1_000_000;
/// 2026-03-02T00:00:00Z.
pub const EPOCH_US: i64 = 1_772_409_600_000_000;

pub fn id(number: u128) -> Value {
    Value::Uuid(Uuid::from_u128(number))
}

pub fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// 2026-03-02 plus some days.
pub fn day(offset: i32) -> Value {
    Value::Date(20_514 + offset)
}

fn read_folder(folder: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                fs::read_to_string(&path).unwrap(),
            )
        })
        .collect()
}

/// The ledger's own files, each edited by `edit` (file name, text).
pub fn load_edited(edit: impl Fn(&str, &str) -> String) -> Result<Arc<Image>, Vec<SqlError>> {
    let ledger = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ledger");
    let edited = |files: Vec<(String, String)>| -> Vec<(String, String)> {
        files
            .into_iter()
            .map(|(name, text)| (name.clone(), edit(&name, &text)))
            .collect()
    };
    let bootstrap = fs::read_to_string(ledger.join("bootstrap.sql")).unwrap();
    let migrations = edited(read_folder(&ledger.join("migrations")));
    let statements = edited(read_folder(&ledger.join("sql")));
    let sources = |files: &'_ [(String, String)]| -> Vec<(String, String)> { files.to_vec() };
    let (migrations, statements) = (sources(&migrations), sources(&statements));
    fn of(files: &[(String, String)]) -> Vec<Source<'_>> {
        files
            .iter()
            .map(|(file, text)| Source { file, text })
            .collect()
    }
    Image::load(
        Source {
            file: "bootstrap.sql",
            text: &bootstrap,
        },
        &of(&migrations),
        &of(&statements),
    )
}

/// The ledger as it is.
pub fn image() -> Arc<Image> {
    match load_edited(|_, text| text.into()) {
        Ok(image) => image,
        Err(errors) => panic!(
            "{}",
            errors
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        ),
    }
}

/// An image without the ledger: for SQL of the test's own.
pub fn bare(schema: &str) -> Arc<Image> {
    let bootstrap = Source {
        file: "bootstrap.sql",
        text: "CREATE ROLE ledger_owner LOGIN; CREATE ROLE app LOGIN; CREATE ROLE other LOGIN;",
    };
    match Image::load(
        bootstrap,
        &[Source {
            file: "schema.sql",
            text: schema,
        }],
        &[],
    ) {
        Ok(image) => image,
        Err(errors) => panic!(
            "{}",
            errors
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        ),
    }
}

pub struct Rig {
    pub db: Database,
    pub now: Nanos,
    sessions: BTreeMap<String, SessionId>,
    answers: BTreeMap<SessionId, Result<Rows, DbError>>,
    pub outputs: Vec<Output>,
    pub limits: SessionSettings,
}

impl Rig {
    pub fn new(image: Arc<Image>) -> Rig {
        Rig::on(Database::new(image, DbConfig::default()))
    }

    pub fn on(db: Database) -> Rig {
        let limits = SessionSettings {
            statement_timeout: Duration::from_millis(800),
            lock_timeout: Duration::from_millis(500),
        };
        Rig {
            db,
            now: 0,
            sessions: BTreeMap::new(),
            answers: BTreeMap::new(),
            outputs: Vec::new(),
            limits,
        }
    }

    /// The session of a name; its role is what stands before a `#`, `ledger_app` if there is nothing.
    pub fn session(&mut self, name: &str) -> SessionId {
        if let Some(id) = self.sessions.get(name) {
            return *id;
        }
        let role = name.split_once('#').map_or("ledger_app", |(role, _)| role);
        let id = self.db.open(role, self.limits).unwrap();
        self.sessions.insert(name.into(), id);
        id
    }

    pub fn close(&mut self, name: &str) {
        if let Some(id) = self.sessions.remove(name) {
            self.db.close(id);
        }
        self.collect();
    }

    pub fn submit(&mut self, name: &str, request: Request) -> SessionId {
        let id = self.session(name);
        let wall = EPOCH_US + (self.now / 1000) as i64;
        self.db.submit(id, request, self.now, wall);
        self.collect();
        id
    }

    pub fn collect(&mut self) {
        let mut outputs = Vec::new();
        self.db.drain(&mut outputs);
        for output in &outputs {
            if let Output::Done {
                session, result, ..
            } = output
            {
                let earlier = self.answers.insert(*session, result.clone());
                assert!(earlier.is_none(), "two answers for {session:?}");
            }
        }
        self.outputs.extend(outputs);
    }

    pub fn pass(&mut self, ms: u64) {
        self.now += ms * MS;
        self.db.advance(self.now);
        self.collect();
    }

    /// The answer that a session has got, if it has one.
    pub fn take(&mut self, name: &str) -> Option<Result<Rows, DbError>> {
        let id = self.session(name);
        self.answers.remove(&id)
    }

    pub fn shown(&mut self, name: &str) -> String {
        match self.take(name) {
            None => "waits".into(),
            Some(result) => show(&result),
        }
    }

    pub fn sql(&mut self, name: &str, sql: &str) -> String {
        self.submit(name, Request::Sql(sql.into()));
        self.shown(name)
    }

    pub fn run(&mut self, name: &str, statement: &str, params: &[Value]) -> String {
        self.submit(
            name,
            Request::Run {
                statement: statement.into(),
                params: params.to_vec(),
            },
        );
        self.shown(name)
    }

    pub fn begin(&mut self, name: &str) {
        self.begin_as(name, Some(TENANT));
    }

    pub fn begin_as(&mut self, name: &str, tenant: Option<Uuid>) {
        self.submit(name, Request::Begin { tenant });
        assert_eq!(self.shown(name), "0");
    }

    pub fn commit(&mut self, name: &str) -> String {
        self.submit(name, Request::Commit);
        self.shown(name)
    }

    pub fn rollback(&mut self, name: &str) -> String {
        self.submit(name, Request::Rollback);
        self.shown(name)
    }
}

/// Rows as `a|b;c|d`, a bare count where there are none, an error as its SQLSTATE and message.
pub fn show(result: &Result<Rows, DbError>) -> String {
    match result {
        Err(error) => error.to_string(),
        Ok(rows) if rows.rows.is_empty() => rows.affected.to_string(),
        Ok(rows) => {
            let line = |row: &Vec<Value>| row.iter().map(show_value).collect::<Vec<_>>().join("|");
            rows.rows.iter().map(line).collect::<Vec<_>>().join(";")
        }
    }
}

/// As psql shows it, NULL as `null`.
fn show_value(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(value) => if *value { "t" } else { "f" }.into(),
        other => super::super::types::to_text(other).unwrap().to_string(),
    }
}

/// A uuid as a step shows it.
pub fn shown_id(number: u128) -> String {
    Uuid::from_u128(number).to_string()
}
