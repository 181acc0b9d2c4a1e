//! The rows: version chains, their indexes, and what a snapshot sees of them.
//!
//! Invariant: a row has at most one version chain, newest first, of which only the newest may belong to a transaction in
//! progress (the row's lock is held meanwhile). Each index holds exactly the keys of the versions that are kept. A version is
//! dropped once no snapshot can see it.

use std::{collections::BTreeSet, ops::Bound, sync::Arc};

use ledger::ports::Value;

use super::{
    catalog::{Index, Table},
    expr::{CmpOp, Expr, compare},
    key,
};

/// One version's values, in column order.
pub type Row = Arc<[Value]>;

/// When a version began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// With this commit.
    Commit(u64),
    /// With this transaction, in progress, in its command of this number.
    Txn(u64, u32),
}

#[derive(Clone, Debug)]
pub struct Version {
    pub begin: Stamp,
    /// `None`: the row was deleted.
    pub data: Option<Row>,
    /// The row was deleted here because it moved to another partition.
    pub moved: bool,
}

/// What a statement sees: commits up to `commit`, and its own transaction's earlier commands.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    pub commit: u64,
    pub txn: u64,
    pub command: u32,
}

impl Snapshot {
    fn sees(&self, stamp: Stamp) -> bool {
        match stamp {
            Stamp::Commit(commit) => commit <= self.commit,
            Stamp::Txn(txn, command) => txn == self.txn && command < self.command,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Chain {
    pub head: Version,
    /// Older versions, oldest first.
    pub older: Vec<Version>,
}

impl Chain {
    /// The version that the snapshot sees, unless it is a deletion.
    pub fn visible(&self, snapshot: &Snapshot) -> Option<(&Row, Stamp)> {
        let newest_first = std::iter::once(&self.head).chain(self.older.iter().rev());
        let version = newest_first
            .into_iter()
            .find(|version| snapshot.sees(version.begin))?;
        version.data.as_ref().map(|data| (data, version.begin))
    }

    fn versions(&self) -> impl Iterator<Item = &Version> {
        self.older.iter().chain(std::iter::once(&self.head))
    }
}

/// One table's rows and indexes. Rows keep their number for ever; numbers are not reused.
#[derive(Clone, Debug, Default)]
pub struct Heap {
    pub rows: Vec<Option<Chain>>,
    /// In the order of the table's indexes: id, keys.
    pub indexes: Vec<(u32, BTreeSet<Box<[u8]>>)>,
}

/// The row number at the end of a key.
pub fn row_of(key: &[u8]) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&key[key.len() - 4..]);
    u32::from_be_bytes(bytes)
}

/// The key of a version in an index; `None` when its predicate keeps the row out.
pub fn index_key(index: &Index, data: &[Value], row: u32) -> Option<Box<[u8]>> {
    if !index
        .predicate
        .iter()
        .all(|conjunct| holds(conjunct, data) == Some(true))
    {
        return None;
    }
    let mut bytes = Vec::with_capacity(index.columns.len() * 17 + 4);
    for column in &index.columns {
        key::push(&mut bytes, &data[usize::from(*column)]);
    }
    key::push_row(&mut bytes, row);
    Some(bytes.into_boxed_slice())
}

/// Evaluates an index predicate: comparisons of the row's columns with constants, and their combinations.
pub fn holds(expr: &Expr, row: &[Value]) -> Option<bool> {
    fn operand<'a>(expr: &'a Expr, row: &'a [Value]) -> &'a Value {
        match expr {
            Expr::Const(value) => value,
            Expr::Col(_, column) => &row[usize::from(*column)],
            _ => &Value::Null,
        }
    }
    match expr {
        Expr::And(list) => list
            .iter()
            .try_fold(true, |all, item| match (all, holds(item, row)) {
                (_, Some(false)) => Some(false),
                (all, Some(true)) => Some(all),
                (_, None) => None,
            }),
        Expr::Or(list) => {
            let mut any = Some(false);
            for item in list {
                match holds(item, row) {
                    Some(true) => return Some(true),
                    None => any = None,
                    Some(false) => {}
                }
            }
            any
        }
        Expr::Not(inner) => holds(inner, row).map(|value| !value),
        Expr::IsNull(inner, negated) => {
            Some(matches!(operand(inner, row), Value::Null) != *negated)
        }
        Expr::Cmp(op, a, b) => {
            let order = compare(operand(a, row), operand(b, row))?;
            Some(match op {
                CmpOp::Eq => order.is_eq(),
                CmpOp::Ne => order.is_ne(),
                CmpOp::Lt => order.is_lt(),
                CmpOp::Le => order.is_le(),
                CmpOp::Gt => order.is_gt(),
                CmpOp::Ge => order.is_ge(),
            })
        }
        Expr::In(probe, list, negated) => {
            let probe = operand(probe, row);
            if matches!(probe, Value::Null) {
                return None;
            }
            Some(list.iter().any(|item| operand(item, row) == probe) != *negated)
        }
        other => match operand(other, row) {
            Value::Bool(value) => Some(*value),
            _ => None,
        },
    }
}

/// Whether `holds` can evaluate this.
pub fn is_simple(expr: &Expr) -> bool {
    let mut simple = true;
    expr.walk(&mut |part| {
        simple &= matches!(
            part,
            Expr::Const(_) | Expr::Col(..) | Expr::And(_) | Expr::Or(_) | Expr::Not(_) | Expr::Cmp(..) | Expr::IsNull(..)
        ) || matches!(part, Expr::In(_, list, _) if list.iter().all(|item| matches!(item, Expr::Const(value) if *value != Value::Null)));
        if let Expr::Cmp(_, a, b) = part {
            simple &= [a, b].iter().all(|side| matches!(***side, Expr::Const(_) | Expr::Col(..)));
        }
        if let Expr::IsNull(inner, _) | Expr::In(inner, ..) = part {
            simple &= matches!(**inner, Expr::Col(..));
        }
    });
    simple
}

impl Heap {
    pub fn chain(&self, row: u32) -> Option<&Chain> {
        self.rows.get(row as usize).and_then(Option::as_ref)
    }

    pub fn chain_mut(&mut self, row: u32) -> Option<&mut Chain> {
        self.rows.get_mut(row as usize).and_then(Option::as_mut)
    }

    /// Appends a new row of a transaction; index entries are the caller's.
    pub fn insert(&mut self, data: Row, begin: Stamp) -> u32 {
        let row = self.rows.len() as u32;
        let head = Version {
            begin,
            data: Some(data),
            moved: false,
        };
        self.rows.push(Some(Chain {
            head,
            older: Vec::new(),
        }));
        row
    }

    /// Puts a newer version in front.
    pub fn push(&mut self, row: u32, version: Version) {
        if let Some(chain) = self.chain_mut(row) {
            let old = std::mem::replace(&mut chain.head, version);
            chain.older.push(old);
        }
    }

    pub fn add_entry(&mut self, index: usize, entry: Box<[u8]>) {
        self.indexes[index].1.insert(entry);
    }

    /// Makes the newest version a committed one. Versions of its transaction's earlier commands were never anybody else's.
    pub fn settle(&mut self, table: &Table, row: u32, stamp: Stamp) {
        let Some(chain) = self.chain_mut(row) else {
            return;
        };
        chain.head.begin = stamp;
        if chain
            .older
            .iter()
            .any(|version| matches!(version.begin, Stamp::Txn(..)))
        {
            let older = std::mem::take(&mut chain.older);
            let (kept, gone) = older
                .into_iter()
                .partition(|version| matches!(version.begin, Stamp::Commit(_)));
            chain.older = kept;
            self.forget_keys(table, row, &gone);
        }
    }

    /// Takes the newest version back: its transaction rolled back.
    pub fn undo(&mut self, table: &Table, row: u32) {
        let Some(chain) = self.chain_mut(row) else {
            return;
        };
        let gone = match chain.older.pop() {
            Some(previous) => std::mem::replace(&mut chain.head, previous),
            None => match self.rows[row as usize].take() {
                Some(chain) => chain.head,
                None => return,
            },
        };
        self.forget_keys(table, row, &[gone]);
    }

    /// Drops the versions that no snapshot at or after commit `horizon` sees. True when older versions remain.
    pub fn prune(&mut self, table: &Table, row: u32, horizon: u64) -> bool {
        let Some(chain) = self.chain_mut(row) else {
            return false;
        };
        let settled =
            |version: &Version| matches!(version.begin, Stamp::Commit(commit) if commit <= horizon);
        let dead = if settled(&chain.head) {
            chain.older.len()
        } else {
            chain.older.iter().rposition(settled).unwrap_or(0)
        };
        let mut gone: Vec<Version> = chain.older.drain(..dead).collect();
        let remain = !chain.older.is_empty();
        if !remain
            && settled(&chain.head)
            && chain.head.data.is_none()
            && let Some(chain) = self.rows[row as usize].take()
        {
            gone.push(chain.head);
        }
        if !gone.is_empty() {
            self.forget_keys(table, row, &gone);
        }
        remain
            || self
                .chain(row)
                .is_some_and(|chain| chain.head.data.is_none())
    }

    fn forget_keys(&mut self, table: &Table, row: u32, gone: &[Version]) {
        for (at, index) in table.indexes.iter().enumerate() {
            for version in gone {
                let Some(entry) = version
                    .data
                    .as_ref()
                    .and_then(|data| index_key(index, data, row))
                else {
                    continue;
                };
                let kept = self.chain(row).is_some_and(|chain| {
                    let mut datas = chain.versions().filter_map(|version| version.data.as_ref());
                    datas.any(|data| index_key(index, data, row).as_ref() == Some(&entry))
                });
                if !kept {
                    self.indexes[at].1.remove(&entry);
                }
            }
        }
    }

    /// Puts a version of the primary's log in front of a row that may be new here.
    pub fn replay(&mut self, table: &Table, row: u32, data: Option<Row>, begin: Stamp) {
        if self.rows.len() <= row as usize {
            self.rows.resize_with(row as usize + 1, || None);
        }
        for (at, index) in table.indexes.iter().enumerate() {
            if let Some(entry) = data.as_ref().and_then(|data| index_key(index, data, row)) {
                self.add_entry(at, entry);
            }
        }
        let version = Version {
            begin,
            data,
            moved: false,
        };
        if self.chain(row).is_some() {
            self.push(row, version);
        } else if version.data.is_some() {
            self.rows[row as usize] = Some(Chain {
                head: version,
                older: Vec::new(),
            });
        }
    }

    /// Changes every version's values: the table got a column, or lost it again.
    pub fn rewrite(&mut self, change: impl Fn(&Row) -> Row) {
        for chain in self.rows.iter_mut().flatten() {
            for version in chain
                .older
                .iter_mut()
                .chain(std::iter::once(&mut chain.head))
            {
                if let Some(data) = &mut version.data {
                    *data = change(data);
                }
            }
        }
    }

    /// Makes the indexes those of the catalog: builds what is missing, drops what is gone.
    pub fn sync_indexes(&mut self, table: &Table) {
        let mut old = std::mem::take(&mut self.indexes);
        for index in &table.indexes {
            let known = old.iter().position(|(id, _)| *id == index.id);
            let entries = match known {
                Some(at) => old.swap_remove(at).1,
                None => self.build(index),
            };
            self.indexes.push((index.id, entries));
        }
    }

    fn build(&self, index: &Index) -> BTreeSet<Box<[u8]>> {
        let mut entries = BTreeSet::new();
        for (row, chain) in self.rows.iter().enumerate() {
            let versions = chain.iter().flat_map(Chain::versions);
            let datas = versions.filter_map(|version| version.data.as_ref());
            entries.extend(datas.filter_map(|data| index_key(index, data, row as u32)));
        }
        entries
    }

    /// Entries of an index that begin with `prefix`, row number excluded.
    pub fn entries(&self, index: usize, prefix: &[u8]) -> impl Iterator<Item = u32> {
        let mut end = prefix.to_vec();
        let upper = if key::advance(&mut end) {
            Bound::Excluded(&end[..])
        } else {
            Bound::Unbounded
        };
        let range = self.indexes[index]
            .1
            .range::<[u8], _>((Bound::Included(prefix), upper));
        range
            .map(|entry| row_of(entry))
            .collect::<Vec<_>>()
            .into_iter()
    }
}

/// All tables' rows, and the number of the last commit.
#[derive(Clone, Debug, Default)]
pub struct Store {
    heaps: Vec<Heap>,
    pub commit: u64,
}

impl Store {
    pub fn heap(&self, table: u32) -> &Heap {
        &self.heaps[table as usize]
    }

    pub fn heap_mut(&mut self, table: u32) -> &mut Heap {
        self.ensure(table);
        &mut self.heaps[table as usize]
    }

    /// Makes room for a table's rows.
    pub fn ensure(&mut self, table: u32) {
        if self.heaps.len() <= table as usize {
            self.heaps.resize_with(table as usize + 1, Heap::default);
        }
    }
}
