//! Changes of the catalog: CREATE, ALTER, DROP, GRANT, REVOKE.
//!
//! Invariant: one transaction at a time changes the catalog, and it locks the table it changes (as PostgreSQL does, in two
//! strengths: SHARE for an index, ACCESS EXCLUSIVE otherwise), so nobody runs on a table whose definition is not committed.
//! The catalog as it was comes back on rollback. What is not understood is refused before anything runs.

use std::sync::Arc;

use sqlparser::ast::{self, AlterTableOperation, Statement};

use super::{
    catalog::{Catalog, Policy, Relation, Role, Table, privilege},
    ddl_table,
    error::{PgError, PgResult, Run},
    execute::Step,
    heap::Store,
    lock::{LockKey, Mode},
    parse::{blank, ident, name, only},
};
use crate::recording::DbEvent;

/// A catalog under change, with the rows that the change has to look at.
pub struct Change<'a> {
    pub catalog: &'a mut Catalog,
    pub store: &'a mut Store,
    pub role: &'a str,
    /// Tables that got columns, with their number of columns before.
    pub widened: &'a mut Vec<(u32, usize)>,
}

/// Runs a schema change in the session's transaction.
pub fn run(step: &mut Step<'_>, statement: &Statement, text: &Arc<str>) -> Run<()> {
    step.lock(LockKey::Catalog, Mode::AccessExclusive)?;
    for (table, mode) in touched(&step.core.catalog, statement) {
        step.lock_table(table, mode)?;
    }
    step.open_write();
    let before = step.core.catalog.clone();
    step.session.txn.catalog.get_or_insert(before);
    let role = step.session.role.clone();
    let mut change = Change {
        catalog: Arc::make_mut(&mut step.core.catalog),
        store: &mut step.core.store,
        role: &role,
        widened: &mut step.session.txn.widened,
    };
    change.apply(statement)?;
    change.catalog.version += 1;
    step.session.txn.ddl.push(text.clone());
    step.core
        .aux
        .events
        .push(DbEvent::Ddl { sql: text.clone() });
    Ok(())
}

/// Runs a schema change that a primary has committed.
pub fn replay(core: &mut super::core::Core, role: &str, statement: &Statement) -> PgResult<()> {
    let mut widened = Vec::new();
    let catalog = Arc::make_mut(&mut core.catalog);
    Change {
        catalog,
        store: &mut core.store,
        role,
        widened: &mut widened,
    }
    .apply(statement)?;
    Arc::make_mut(&mut core.catalog).version += 1;
    Ok(())
}

/// Existing tables that a statement changes, and how they are locked.
fn touched(catalog: &Catalog, statement: &Statement) -> Vec<(u32, Mode)> {
    let (object, mode) = match statement {
        Statement::CreateIndex(create) => (Some(&create.table_name), Mode::Share),
        Statement::AlterTable(alter) => (Some(&alter.name), Mode::AccessExclusive),
        Statement::CreatePolicy(create) => (Some(&create.table_name), Mode::AccessExclusive),
        Statement::DropPolicy(drop) => (Some(&drop.table_name), Mode::AccessExclusive),
        Statement::CreateTable(create) => (create.partition_of.as_ref(), Mode::AccessExclusive),
        Statement::Drop { names, .. } => {
            let ids = names.iter().filter_map(|object| table_of(catalog, object));
            return ids.map(|id| (id, Mode::AccessExclusive)).collect();
        }
        _ => (None, Mode::AccessShare),
    };
    object
        .and_then(|object| table_of(catalog, object))
        .map(|id| (id, mode))
        .into_iter()
        .collect()
}

fn table_of(catalog: &Catalog, object: &ast::ObjectName) -> Option<u32> {
    match catalog.relation(&name(object).ok()?).ok()? {
        Relation::Table(id) | Relation::Index(id) | Relation::Partition(id, _) => Some(id),
        Relation::Sequence(_) => None,
    }
}

/// Refuses statements of a kind that is not run at all; details are refused when they run.
pub fn supported(statement: &Statement) -> PgResult<()> {
    match statement {
        Statement::CreateTable(_)
        | Statement::CreateIndex(_)
        | Statement::AlterTable(_)
        | Statement::CreatePolicy(_)
        | Statement::DropPolicy(_)
        | Statement::CreateRole(_)
        | Statement::CreateExtension(_)
        | Statement::Grant(_)
        | Statement::Revoke(_)
        | Statement::Drop {
            object_type: ast::ObjectType::Table | ast::ObjectType::Index,
            ..
        } => Ok(()),
        other => Err(PgError::unsupported(format!("the statement `{other}`"))),
    }
}

impl Change<'_> {
    fn apply(&mut self, statement: &Statement) -> PgResult<()> {
        match statement {
            Statement::CreateTable(create) => self.create_table(create),
            Statement::CreateIndex(create) => self.create_index(create),
            Statement::AlterTable(alter) => self.alter_table(alter),
            Statement::CreatePolicy(create) => self.create_policy(create),
            Statement::DropPolicy(drop) => self.drop_policy(drop),
            Statement::CreateRole(create) => self.create_role(create),
            Statement::CreateExtension(create) => {
                if &*ident(&create.name) != "btree_gist" {
                    return Err(PgError::unsupported(format!(
                        "the extension {}",
                        create.name
                    )));
                }
                Ok(())
            }
            Statement::Grant(grant) => {
                let Statement::Grant(mut read) = blank("GRANT SELECT ON t TO r")? else {
                    return Err(PgError::internal("a blank GRANT"));
                };
                read.privileges = grant.privileges.clone();
                read.objects.clone_from(&grant.objects);
                read.grantees.clone_from(&grant.grantees);
                only(grant, &read)?;
                self.grant(
                    &grant.privileges,
                    grant.objects.as_ref(),
                    &grant.grantees,
                    true,
                )
            }
            Statement::Revoke(revoke) => {
                let Statement::Revoke(mut read) = blank("REVOKE SELECT ON t FROM r")? else {
                    return Err(PgError::internal("a blank REVOKE"));
                };
                read.privileges = revoke.privileges.clone();
                read.objects.clone_from(&revoke.objects);
                read.grantees.clone_from(&revoke.grantees);
                only(revoke, &read)?;
                self.grant(
                    &revoke.privileges,
                    revoke.objects.as_ref(),
                    &revoke.grantees,
                    false,
                )
            }
            Statement::Drop {
                object_type,
                if_exists,
                names,
                cascade,
                purge: false,
                temporary: false,
                table: None,
                ..
            } => self.drop(*object_type, *if_exists, names, *cascade),
            other => Err(PgError::unsupported(format!("the statement `{other}`"))),
        }
    }

    /// The table, if the role owns it.
    pub fn owned(&self, object: &ast::ObjectName) -> PgResult<Arc<Table>> {
        let table = self
            .catalog
            .table_named(&name(object)?)
            .map_err(|error| error.at(object))?
            .clone();
        if *table.owner != *self.role && !self.catalog.role(self.role)?.superuser {
            return Err(PgError::new(
                "42501",
                format!("must be owner of table {}", table.name),
            ));
        }
        Ok(table)
    }

    fn alter_table(&mut self, alter: &ast::AlterTable) -> PgResult<()> {
        let Statement::AlterTable(mut read) = blank("ALTER TABLE t ENABLE ROW LEVEL SECURITY")?
        else {
            return Err(PgError::internal("a blank ALTER TABLE"));
        };
        read.name = alter.name.clone();
        read.operations.clone_from(&alter.operations);
        only(alter, &read)?;
        let table = self.owned(&alter.name)?;
        for operation in &alter.operations {
            self.alter_one(table.id, operation)?;
        }
        Ok(())
    }

    fn alter_one(&mut self, id: u32, operation: &AlterTableOperation) -> PgResult<()> {
        use AlterTableOperation as Op;
        match operation {
            Op::EnableRowLevelSecurity => self.catalog.table_mut(id)?.row_security = true,
            Op::DisableRowLevelSecurity => self.catalog.table_mut(id)?.row_security = false,
            Op::ForceRowLevelSecurity => self.catalog.table_mut(id)?.force_row_security = true,
            Op::NoForceRowLevelSecurity => self.catalog.table_mut(id)?.force_row_security = false,
            Op::AddConstraint {
                constraint,
                not_valid,
            } => self.add_constraint(id, constraint, !not_valid)?,
            Op::DropConstraint {
                if_exists,
                name,
                drop_behavior: _,
            } => self.drop_constraint(id, &ident(name), *if_exists)?,
            Op::AddColumn {
                if_not_exists,
                column_def,
                column_position: None,
                ..
            } => self.add_column(id, column_def, *if_not_exists)?,
            Op::AlterColumn { column_name, op } => {
                self.alter_column(id, &ident(column_name), op)?
            }
            Op::OwnerTo {
                new_owner: ast::Owner::Ident(owner),
            } => {
                let owner = ident(owner);
                self.catalog.role(&owner)?;
                self.catalog.table_mut(id)?.owner = owner;
            }
            other => return Err(PgError::unsupported(format!("ALTER TABLE … {other}"))),
        }
        Ok(())
    }

    fn alter_column(
        &mut self,
        id: u32,
        column: &str,
        op: &ast::AlterColumnOperation,
    ) -> PgResult<()> {
        let table = self.catalog.table(id)?.clone();
        let Some(at) = table.column(column) else {
            return Err(PgError::new(
                "42703",
                format!(
                    "column \"{column}\" of relation \"{}\" does not exist",
                    table.name
                ),
            ));
        };
        if *op == ast::AlterColumnOperation::SetNotNull {
            ddl_table::check_not_null(self.store, &table, at)?;
        }
        if let ast::AlterColumnOperation::SetDefault { value } = op {
            ddl_table::check_default(
                self.catalog,
                self.role,
                value,
                table.columns[usize::from(at)].ty,
            )?;
        }
        let column = &mut self.catalog.table_mut(id)?.columns[usize::from(at)];
        match op {
            ast::AlterColumnOperation::SetNotNull => column.not_null = true,
            ast::AlterColumnOperation::DropNotNull => column.not_null = false,
            ast::AlterColumnOperation::SetDefault { value } => column.default = Some(value.clone()),
            ast::AlterColumnOperation::DropDefault => column.default = None,
            other => return Err(PgError::unsupported(format!("ALTER COLUMN {other}"))),
        }
        Ok(())
    }

    fn create_policy(&mut self, create: &ast::CreatePolicy) -> PgResult<()> {
        let table = self.owned(&create.table_name)?;
        let called = ident(&create.name);
        if table.policies.iter().any(|policy| policy.name == called) {
            return Err(PgError::new(
                "42710",
                format!(
                    "policy \"{called}\" for table \"{}\" already exists",
                    table.name
                ),
            ));
        }
        let mut roles = Vec::new();
        for owner in create.to.iter().flatten() {
            match owner {
                ast::Owner::Ident(role) if &*ident(role) == "public" => {}
                ast::Owner::Ident(role) => {
                    self.catalog.role(&ident(role))?;
                    roles.push(ident(role));
                }
                other => return Err(PgError::unsupported(format!("a policy TO {other}"))),
            }
        }
        for expr in create.using.iter().chain(&create.with_check) {
            ddl_table::check_policy(self.catalog, self.role, &table, expr)?;
        }
        use super::catalog::Command;
        let command = match create.command {
            None | Some(ast::CreatePolicyCommand::All) => None,
            Some(ast::CreatePolicyCommand::Select) => Some(Command::Select),
            Some(ast::CreatePolicyCommand::Insert) => Some(Command::Insert),
            Some(ast::CreatePolicyCommand::Update) => Some(Command::Update),
            Some(ast::CreatePolicyCommand::Delete) => Some(Command::Delete),
        };
        if command == Some(Command::Insert) && create.using.is_some() {
            return Err(PgError::new(
                "42601",
                "only WITH CHECK expression allowed for INSERT",
            ));
        }
        if matches!(command, Some(Command::Select | Command::Delete)) && create.with_check.is_some()
        {
            return Err(PgError::new(
                "42601",
                "WITH CHECK cannot be applied to SELECT or DELETE",
            ));
        }
        self.catalog.table_mut(table.id)?.policies.push(Policy {
            name: called,
            restrictive: create.policy_type == Some(ast::CreatePolicyType::Restrictive),
            command,
            roles,
            using: create.using.clone(),
            check: create.with_check.clone(),
        });
        Ok(())
    }

    fn drop_policy(&mut self, drop: &ast::DropPolicy) -> PgResult<()> {
        let table = self.owned(&drop.table_name)?;
        let called = ident(&drop.name);
        let known = table
            .policies
            .iter()
            .position(|policy| policy.name == called);
        match known {
            Some(at) => {
                self.catalog.table_mut(table.id)?.policies.remove(at);
                Ok(())
            }
            None if drop.if_exists => Ok(()),
            None => Err(PgError::new(
                "42704",
                format!(
                    "policy \"{called}\" for table \"{}\" does not exist",
                    table.name
                ),
            )),
        }
    }

    fn create_role(&mut self, create: &ast::CreateRole) -> PgResult<()> {
        if !self.catalog.role(self.role)?.superuser {
            return Err(PgError::new("42501", "permission denied to create role"));
        }
        let Statement::CreateRole(mut read) = blank("CREATE ROLE r")? else {
            return Err(PgError::internal("a blank CREATE ROLE"));
        };
        read.names.clone_from(&create.names);
        (read.login, read.superuser, read.bypassrls) =
            (create.login, create.superuser, create.bypassrls);
        // Without members or passwords these change nothing that can be observed.
        (
            read.inherit,
            read.create_db,
            read.create_role,
            read.replication,
        ) = (
            create.inherit,
            create.create_db,
            create.create_role,
            create.replication,
        );
        only(create, &read)?;
        for object in &create.names {
            let called = name(object)?;
            if self.catalog.roles.contains_key(&called) {
                return Err(PgError::new(
                    "42710",
                    format!("role \"{called}\" already exists"),
                ));
            }
            let superuser = create.superuser == Some(true);
            let role = Role {
                superuser,
                bypass_rls: superuser || create.bypassrls == Some(true),
                login: create.login == Some(true),
            };
            self.catalog.roles.insert(called, role);
        }
        Ok(())
    }

    fn grant(
        &mut self,
        privileges: &ast::Privileges,
        objects: Option<&ast::GrantObjects>,
        grantees: &[ast::Grantee],
        give: bool,
    ) -> PgResult<()> {
        let (names, sequences) = match objects {
            Some(ast::GrantObjects::Tables(names)) => (names, false),
            Some(ast::GrantObjects::Sequences(names)) => (names, true),
            _ => {
                return Err(PgError::unsupported(
                    "GRANT or REVOKE on anything but tables and sequences",
                ));
            }
        };
        let bits = privilege_bits(privileges, sequences)?;
        for grantee in grantees {
            let role = match (&grantee.grantee_type, &grantee.name) {
                (ast::GranteesType::Public, None) => "public".into(),
                (
                    ast::GranteesType::None | ast::GranteesType::Role,
                    Some(ast::GranteeName::ObjectName(object)),
                ) => name(object)?,
                _ => return Err(PgError::unsupported(format!("the grantee {grantee}"))),
            };
            if &*role != "public" {
                self.catalog.role(&role)?;
            }
            for object in names {
                let grants = self.grants_of(object, sequences)?;
                let held = grants.entry(role.clone()).or_insert(0);
                *held = if give { *held | bits } else { *held & !bits };
            }
        }
        Ok(())
    }

    fn grants_of(
        &mut self,
        object: &ast::ObjectName,
        sequences: bool,
    ) -> PgResult<&mut super::catalog::Grants> {
        let called = name(object)?;
        match self
            .catalog
            .relation(&called)
            .map_err(|error| error.at(object))?
        {
            Relation::Sequence(id) => {
                let superuser = self.catalog.role(self.role)?.superuser;
                let sequence = self
                    .catalog
                    .sequences
                    .get_mut(&id)
                    .ok_or_else(|| PgError::internal("a sequence is gone"))?;
                if *sequence.owner != *self.role && !superuser {
                    return Err(PgError::new(
                        "42501",
                        format!("permission denied for sequence {called}"),
                    ));
                }
                Ok(&mut sequence.grants)
            }
            _ if sequences => Err(PgError::new(
                "42809",
                format!("\"{called}\" is not a sequence"),
            )),
            _ => {
                let table = self.owned(object)?;
                Ok(&mut self.catalog.table_mut(table.id)?.grants)
            }
        }
    }
}

fn privilege_bits(privileges: &ast::Privileges, sequences: bool) -> PgResult<u8> {
    let actions = match privileges {
        ast::Privileges::All { .. } => {
            return Ok(if sequences {
                privilege::SEQUENCE
            } else {
                privilege::TABLE
            });
        }
        ast::Privileges::Actions(actions) => actions,
    };
    let mut bits = 0;
    for action in actions {
        bits |= match action {
            ast::Action::Select { columns: None } => privilege::SELECT,
            ast::Action::Insert { columns: None } => privilege::INSERT,
            ast::Action::Update { columns: None } => privilege::UPDATE,
            ast::Action::References { columns: None } => privilege::REFERENCES,
            ast::Action::Delete => privilege::DELETE,
            ast::Action::Truncate => privilege::TRUNCATE,
            ast::Action::Trigger => privilege::TRIGGER,
            ast::Action::Usage if sequences => privilege::USAGE,
            other => return Err(PgError::unsupported(format!("the privilege {other}"))),
        };
    }
    Ok(bits)
}
