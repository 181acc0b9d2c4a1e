//! The ledger's statements by name, checked to be complete when the service starts: a misspelt file is found then, not at night.

use std::{path::Path, sync::Arc};

use crate::{
    ports::Statement,
    schema::{self, SchemaError},
};

macro_rules! book {
    ($($name:ident)*) => {
        /// Every statement of the service; each field is the file `sql/<field>.sql`, which tells its parameters and columns.
        #[derive(Clone, Debug)]
        pub struct SqlBook {
            $(#[doc = concat!("`sql/", stringify!($name), ".sql`")] pub $name: Statement,)*
        }

        impl SqlBook {
            /// The statements' names, in order.
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// Builds the book from `(name, text)` pairs.
            ///
            /// # Errors
            /// A statement missing, unknown or given twice.
            pub fn new(statements: &[(String, String)]) -> Result<Self, SchemaError> {
                for (at, (name, _)) in statements.iter().enumerate() {
                    if !Self::NAMES.contains(&name.as_str()) {
                        return Err(SchemaError::Unknown(name.clone()));
                    }
                    if statements[..at].iter().any(|(earlier, _)| earlier == name) {
                        return Err(SchemaError::Duplicate(name.clone()));
                    }
                }
                Ok(Self { $($name: find(statements, stringify!($name))?,)* })
            }

            /// Every statement, in the order of [`SqlBook::NAMES`].
            pub fn all(&self) -> Vec<&Statement> {
                vec![$(&self.$name),*]
            }
        }
    };
}

book! {
    add_night add_property add_room add_room_type allocation_get assign_room audit_changed audit_find audit_insert
    audit_oversold audit_room_types availability cancel_allocation cancel_nights collect_holds collect_jobs collect_members
    collect_outbox confirm_allocation confirm_nights expire_allocation free_rooms freeze_tenant hold_claim_key hold_find_key
    hold_insert hold_lock_nights hold_reserve_nights job_succeeded outbox_batch outbox_insert outbox_published outbox_replay
    property_room_types release_allocation release_nights server_state stop_sell_nights sweep_candidates sweep_lock
    tenant_frozen try_leadership unfreeze_tenant
}

impl SqlBook {
    /// The statements that were compiled in.
    ///
    /// # Errors
    /// A file was added or removed without the code that uses it; a test keeps that from happening.
    pub fn embedded() -> Result<Self, SchemaError> {
        Self::new(&schema::embedded().statements)
    }

    /// The statements of `dir/sql`, where `dir` is laid out as the ledger's own folder.
    ///
    /// # Errors
    /// As [`schema::from_dir`] and [`SqlBook::new`].
    pub fn from_dir(dir: &Path) -> Result<Self, SchemaError> {
        Self::new(&schema::from_dir(dir)?.statements)
    }
}

fn find(statements: &[(String, String)], name: &str) -> Result<Statement, SchemaError> {
    let (name, sql) = statements
        .iter()
        .find(|(candidate, _)| candidate == name)
        .ok_or_else(|| SchemaError::Missing(name.to_owned()))?;
    Ok(Statement {
        name: Arc::from(name.as_str()),
        sql: Arc::from(sql.as_str()),
    })
}
