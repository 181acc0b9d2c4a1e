//! The ledger's statement files as the specs use them, and what each touches, read from the SQL itself.
//!
//! Invariant: a statement's footprint names every table of the migrations that occurs in its text; written is what INSERT,
//! UPDATE and DELETE name, locked is what FOR UPDATE or a foreign key locks, the rest is read.
//! Left out: columns. Two statements that touch a table may meet in a row.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
};

use ledger::ports;
use sqlparser::{
    ast::{
        AlterTableOperation, AssignmentTarget, ColumnOption, FromTable, Query, Statement as Ast,
        TableConstraint, TableFactor, TableObject,
    },
    dialect::PostgreSqlDialect,
    parser::Parser,
    tokenizer::{Token, Tokenizer},
};

/// How a statement touches a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    Read,
    Lock,
    Write,
}

/// One statement file.
#[derive(Clone, Debug)]
pub struct Known {
    pub statement: Arc<ports::Statement>,
    /// SQL types of `$1`…, as the file's comment names them.
    pub types: Vec<String>,
    /// Whether the order of its rows is defined.
    pub ordered: bool,
    /// What it touches; an advisory lock counts as the table `advisory`.
    pub footprint: BTreeMap<String, Access>,
}

/// All statement files of a ledger, by name.
pub type Statements = BTreeMap<String, Known>;

/// Reads `sql/*.sql` of the ledger in `dir`, with its migrations for the foreign keys.
pub fn load(dir: &Path) -> Result<Statements, String> {
    let schema = schema(dir)?;
    let mut known = Statements::new();
    for (name, sql) in files(&dir.join("sql"))? {
        let at = |error: String| format!("sql/{name}.sql: {error}");
        let ast = parse(&sql).map_err(at)?;
        let [ast] = &ast[..] else {
            return Err(at("more than one statement".to_owned()));
        };
        known.insert(
            name.clone(),
            Known {
                types: types(&sql),
                ordered: matches!(ast, Ast::Query(query) if query.order_by.is_some()),
                footprint: footprint(&sql, ast, &schema).map_err(at)?,
                statement: Arc::new(ports::Statement {
                    name: name.into(),
                    sql: sql.into(),
                }),
            },
        );
    }
    Ok(known)
}

/// Unordered pairs, a statement with itself among them, that touch a common table which at least one of them writes or locks.
pub fn meeting(statements: &Statements) -> BTreeMap<(String, String), BTreeSet<String>> {
    let mut pairs = BTreeMap::new();
    for (a, left) in statements {
        for (b, right) in statements.range(a.clone()..) {
            let shared: BTreeSet<String> = left
                .footprint
                .iter()
                .filter(|(table, access)| {
                    let other = right.footprint.get(*table);
                    other.is_some_and(|other| (*other).max(**access) > Access::Read)
                })
                .map(|(table, _)| table.clone())
                .collect();
            if !shared.is_empty() {
                pairs.insert((a.clone(), b.clone()), shared);
            }
        }
    }
    pairs
}

/// Table → column → referenced table.
type Schema = BTreeMap<String, BTreeMap<String, String>>;

fn files(folder: &Path) -> Result<BTreeMap<String, String>, String> {
    let at = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(at)? {
        let path = entry.map_err(at)?.path();
        if path.extension().is_some_and(|e| e == "sql") {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            found.insert(stem.into_owned(), fs::read_to_string(&path).map_err(at)?);
        }
    }
    Ok(found)
}

fn parse(sql: &str) -> Result<Vec<Ast>, String> {
    Parser::parse_sql(&PostgreSqlDialect {}, sql).map_err(|error| error.to_string())
}

fn schema(dir: &Path) -> Result<Schema, String> {
    let mut schema = Schema::new();
    for (name, sql) in files(&dir.join("migrations"))? {
        for ast in parse(&sql).map_err(|error| format!("migrations/{name}.sql: {error}"))? {
            match ast {
                Ast::CreateTable(table) => {
                    let references = schema.entry(table.name.to_string()).or_default();
                    for column in &table.columns {
                        for option in &column.options {
                            if let ColumnOption::ForeignKey(key) = &option.option {
                                references.insert(
                                    column.name.value.clone(),
                                    key.foreign_table.to_string(),
                                );
                            }
                        }
                    }
                    if table
                        .constraints
                        .iter()
                        .any(|c| matches!(c, TableConstraint::ForeignKey(_)))
                    {
                        return Err(format!(
                            "{}: a foreign key of the table is not read here",
                            table.name
                        ));
                    }
                }
                Ast::AlterTable(table)
                    if table.operations.iter().any(|operation| {
                        matches!(
                            operation,
                            AlterTableOperation::AddConstraint {
                                constraint: TableConstraint::ForeignKey(_),
                                ..
                            }
                        )
                    }) =>
                {
                    return Err(format!(
                        "{}: an added foreign key is not read here",
                        table.name
                    ));
                }
                _ => {}
            }
        }
    }
    Ok(schema)
}

fn footprint(sql: &str, ast: &Ast, schema: &Schema) -> Result<BTreeMap<String, Access>, String> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql)
        .tokenize()
        .map_err(|error| error.to_string())?;
    let words: BTreeSet<&str> = tokens
        .iter()
        .filter_map(|token| match token {
            Token::Word(word) => Some(word.value.as_str()),
            _ => None,
        })
        .collect();
    let locks = matches!(ast, Ast::Query(query) if is_locking(query));
    let read = if locks { Access::Lock } else { Access::Read };
    let mut touched: BTreeMap<String, Access> = schema
        .keys()
        .filter(|table| words.contains(table.as_str()))
        .map(|table| (table.clone(), read))
        .collect();
    if words.iter().any(|word| word.contains("advisory")) {
        touched.insert("advisory".to_owned(), Access::Lock);
    }
    let (table, columns) = match ast {
        Ast::Query(_) => return Ok(touched),
        Ast::Insert(insert) => {
            let TableObject::TableName(table) = &insert.table else {
                return Err("INSERT into something that is no table".to_owned());
            };
            let columns = insert.columns.iter().map(ToString::to_string).collect();
            (table.to_string(), columns)
        }
        Ast::Update(update) => {
            let TableFactor::Table { name, .. } = &update.table.relation else {
                return Err("UPDATE of something that is no table".to_owned());
            };
            let columns = update
                .assignments
                .iter()
                .filter_map(|assignment| match &assignment.target {
                    AssignmentTarget::ColumnName(column) => Some(column.to_string()),
                    AssignmentTarget::Tuple(_) => None,
                })
                .collect();
            (name.to_string(), columns)
        }
        Ast::Delete(delete) => {
            let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
            match &from[..] {
                [one] => (one.relation.to_string(), Vec::new()),
                _ => return Err("DELETE from something that is no table".to_owned()),
            }
        }
        other => {
            return Err(format!(
                "a statement of this kind is not read here: {other}"
            ));
        }
    };
    let columns: Vec<String> = columns;
    let references = schema
        .get(&table)
        .ok_or_else(|| format!("no table `{table}`"))?;
    for column in &columns {
        if let Some(referenced) = references.get(column) {
            let access = touched.entry(referenced.clone()).or_insert(Access::Lock);
            *access = (*access).max(Access::Lock);
        }
    }
    touched.insert(table, Access::Write);
    Ok(touched)
}

fn is_locking(query: &Query) -> bool {
    !query.locks.is_empty()
}

/// Types of `-- $1 allocation_id uuid, $2 night date`.
fn types(sql: &str) -> Vec<String> {
    let comments: String = sql.lines().filter(|line| line.starts_with("--")).collect();
    comments
        .split('$')
        .skip(1)
        .filter_map(|text| {
            text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .find(|word| {
                    ["uuid", "text", "date", "integer", "bigint", "boolean"].contains(word)
                })
                .map(str::to_owned)
        })
        .collect()
}

#[test]
fn a_footprint_says_what_is_read_locked_and_written() {
    let statements = load(&crate::postgres::ledger_dir()).unwrap();
    let rows = [
        ("availability", "room_type_inventory_daily:Read"),
        ("hold_lock_nights", "room_type_inventory_daily:Lock"),
        ("hold_insert", "room_allocations:Write room_types:Lock"),
        ("assign_room", "room_allocations:Write rooms:Lock"),
        ("free_rooms", "room_allocations:Read rooms:Read"),
        ("try_leadership", "advisory:Lock"),
        ("unfreeze_tenant", "tenant_freezes:Write"),
        ("server_state", ""),
    ];
    for (name, want) in rows {
        let got: Vec<String> = statements[name]
            .footprint
            .iter()
            .map(|(table, access)| format!("{table}:{access:?}"))
            .collect();
        assert_eq!(got.join(" "), want, "{name}");
    }
    assert_eq!(
        statements["hold_insert"].types,
        ["uuid", "uuid", "date", "date", "text", "bigint"]
    );
}
