//! The catalog: tables with their columns, constraints, indexes, partitions, policies and grants; sequences; roles.
//!
//! Invariant: names are unique among relations; `version` changes with every change, so that cached plans are compiled anew.
//! Table numbers are never reused. Left out: schemas other than `public`, views, functions, role membership.

use std::{collections::BTreeMap, sync::Arc};

use ledger::ports::Value;
use sqlparser::ast;

use super::{
    error::{PgError, PgResult},
    expr::Expr,
    types::Type,
};

#[derive(Clone, Debug)]
pub struct Column {
    pub name: Arc<str>,
    pub ty: Type,
    pub not_null: bool,
    pub default: Option<ast::Expr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexKind {
    Plain,
    Unique {
        primary: bool,
        constraint: bool,
    },
    /// EXCLUDE: equal columns, and overlapping dateranges made of these two columns, if any.
    Exclude {
        range: Option<(u16, u16)>,
    },
}

#[derive(Clone, Debug)]
pub struct Index {
    pub id: u32,
    pub name: Arc<str>,
    pub columns: Vec<u16>,
    pub kind: IndexKind,
    /// Conjuncts over slot 0; all must hold for a row to be in the index.
    pub predicate: Vec<Expr>,
}

impl Index {
    pub fn unique(&self) -> bool {
        matches!(self.kind, IndexKind::Unique { .. })
    }

    pub fn constraint(&self) -> bool {
        matches!(
            self.kind,
            IndexKind::Unique {
                constraint: true,
                ..
            } | IndexKind::Exclude { .. }
        )
    }

    pub fn primary(&self) -> bool {
        matches!(self.kind, IndexKind::Unique { primary: true, .. })
    }
}

#[derive(Clone, Debug)]
pub struct Check {
    pub name: Arc<str>,
    /// Over slot 0.
    pub expr: Expr,
}

#[derive(Clone, Debug)]
pub struct ForeignKey {
    pub name: Arc<str>,
    pub columns: Vec<u16>,
    pub parent: u32,
    pub parent_columns: Vec<u16>,
}

#[derive(Clone, Debug)]
pub struct Partition {
    pub name: Arc<str>,
    /// From inclusive, to exclusive; `None` is open. The default partition has no bounds at all.
    pub bounds: Option<(Option<Value>, Option<Value>)>,
}

#[derive(Clone, Debug)]
pub struct Partitioning {
    pub column: u16,
    pub parts: Vec<Partition>,
}

impl Partitioning {
    /// Index of the partition that takes a row.
    pub fn route(&self, row: &[Value]) -> Option<u16> {
        let value = &row[usize::from(self.column)];
        let fits = |part: &Partition| match &part.bounds {
            Some((from, to)) => {
                !matches!(value, Value::Null)
                    && from.as_ref().is_none_or(|from| value >= from)
                    && to.as_ref().is_none_or(|to| value < to)
            }
            None => false,
        };
        let at = self.parts.iter().position(fits);
        let at = at.or_else(|| self.parts.iter().position(|part| part.bounds.is_none()));
        at.map(|at| at as u16)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Select,
    Insert,
    Update,
    Delete,
}

#[derive(Clone, Debug)]
pub struct Policy {
    pub name: Arc<str>,
    pub restrictive: bool,
    /// `None`: all commands.
    pub command: Option<Command>,
    /// Empty: PUBLIC.
    pub roles: Vec<Arc<str>>,
    pub using: Option<ast::Expr>,
    pub check: Option<ast::Expr>,
}

/// Privileges as bits.
pub mod privilege {
    pub const SELECT: u8 = 1;
    pub const INSERT: u8 = 2;
    pub const UPDATE: u8 = 4;
    pub const DELETE: u8 = 8;
    pub const TRUNCATE: u8 = 16;
    pub const REFERENCES: u8 = 32;
    pub const USAGE: u8 = 64;
    pub const TRIGGER: u8 = 128;
    pub const TABLE: u8 = SELECT | INSERT | UPDATE | DELETE | TRUNCATE | REFERENCES | TRIGGER;
    pub const SEQUENCE: u8 = SELECT | UPDATE | USAGE;
}

/// Who may do what; the name `public` stands for everybody.
pub type Grants = BTreeMap<Arc<str>, u8>;

#[derive(Clone, Debug)]
pub struct Table {
    pub id: u32,
    pub name: Arc<str>,
    pub owner: Arc<str>,
    pub columns: Vec<Column>,
    pub indexes: Vec<Index>,
    /// In the order of their names, which is the order in which PostgreSQL checks them.
    pub checks: Vec<Check>,
    pub foreign_keys: Vec<ForeignKey>,
    pub partitions: Option<Partitioning>,
    pub row_security: bool,
    pub force_row_security: bool,
    pub policies: Vec<Policy>,
    pub grants: Grants,
}

impl Table {
    pub fn column(&self, name: &str) -> Option<u16> {
        self.columns
            .iter()
            .position(|column| &*column.name == name)
            .map(|at| at as u16)
    }

    /// Whether a foreign key might point at this column: changing it needs the strongest row lock.
    pub fn is_key(&self, column: u16) -> bool {
        self.indexes.iter().any(|index| {
            index.unique() && index.predicate.is_empty() && index.columns.contains(&column)
        })
    }

    /// Name that PostgreSQL's messages show for a row: its leaf partition.
    pub fn leaf_name(&self, row: &[Value]) -> &Arc<str> {
        self.partitions
            .as_ref()
            .and_then(|parts| {
                parts
                    .route(row)
                    .map(|at| &parts.parts[usize::from(at)].name)
            })
            .unwrap_or(&self.name)
    }

    /// Name of an index on the leaf that holds a row.
    pub fn leaf_index_name(&self, index: &Index, row: &[Value]) -> String {
        let leaf = self.leaf_name(row);
        if *leaf == self.name {
            return index.name.to_string();
        }
        if index.primary() {
            return format!("{leaf}_pkey");
        }
        let columns: Vec<&str> = index
            .columns
            .iter()
            .map(|at| &*self.columns[usize::from(*at)].name)
            .collect();
        let suffix = if index.constraint() { "key" } else { "idx" };
        format!("{leaf}_{}_{suffix}", columns.join("_"))
    }
}

#[derive(Clone, Debug)]
pub struct Sequence {
    /// The table whose column it feeds, and with which it goes.
    pub table: u32,
    pub owner: Arc<str>,
    pub grants: Grants,
}

#[derive(Clone, Debug)]
pub struct Role {
    pub superuser: bool,
    pub bypass_rls: bool,
    pub login: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    Table(u32),
    Partition(u32, u16),
    Sequence(u32),
    /// An index, by its table.
    Index(u32),
}

#[derive(Clone, Debug)]
pub struct Catalog {
    pub version: u64,
    pub tables: BTreeMap<u32, Arc<Table>>,
    pub sequences: BTreeMap<u32, Sequence>,
    pub names: BTreeMap<Arc<str>, Relation>,
    pub roles: BTreeMap<Arc<str>, Role>,
    pub next_id: u32,
}

impl Default for Catalog {
    fn default() -> Catalog {
        let postgres = Role {
            superuser: true,
            bypass_rls: true,
            login: true,
        };
        Catalog {
            version: 1,
            tables: BTreeMap::new(),
            sequences: BTreeMap::new(),
            names: BTreeMap::new(),
            roles: BTreeMap::from([("postgres".into(), postgres)]),
            next_id: 1,
        }
    }
}

impl Catalog {
    pub fn fresh_id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id - 1
    }

    pub fn relation(&self, name: &str) -> PgResult<Relation> {
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| PgError::new("42P01", format!("relation \"{name}\" does not exist")))
    }

    pub fn table_named(&self, name: &str) -> PgResult<&Arc<Table>> {
        match self.relation(name)? {
            Relation::Table(id) => self.table(id),
            Relation::Partition(..) => Err(PgError::unsupported(format!(
                "changing partition \"{name}\" directly: name its partitioned table"
            ))),
            _ => Err(PgError::new("42809", format!("\"{name}\" is not a table"))),
        }
    }

    pub fn table(&self, id: u32) -> PgResult<&Arc<Table>> {
        self.tables
            .get(&id)
            .ok_or_else(|| PgError::internal(format!("table {id} is gone")))
    }

    /// For changing: counts as a change of the catalog.
    pub fn table_mut(&mut self, id: u32) -> PgResult<&mut Table> {
        self.version += 1;
        self.tables
            .get_mut(&id)
            .map(Arc::make_mut)
            .ok_or_else(|| PgError::internal(format!("table {id} is gone")))
    }

    pub fn role(&self, name: &str) -> PgResult<&Role> {
        self.roles
            .get(name)
            .ok_or_else(|| PgError::new("42704", format!("role \"{name}\" does not exist")))
    }

    /// Whether the role may do all of `wanted` on something with this owner and these grants.
    pub fn allows(&self, role: &str, owner: &str, grants: &Grants, wanted: u8) -> bool {
        let superuser = self.roles.get(role).is_some_and(|role| role.superuser);
        let granted = grants.get(role).unwrap_or(&0) | grants.get("public").unwrap_or(&0);
        superuser || role == owner || granted & wanted == wanted
    }

    /// Foreign keys of other tables that point here.
    pub fn referencing(&self, parent: u32) -> impl Iterator<Item = (&Arc<Table>, &ForeignKey)> {
        self.tables.values().flat_map(move |table| {
            table
                .foreign_keys
                .iter()
                .filter(move |key| key.parent == parent)
                .map(move |key| (table, key))
        })
    }
}
