//! Functions: the clock, settings, advisory locks, sequences and a few scalar ones.
//!
//! Invariant: what a function reads of the world is the session, the sequences and the lock table; no ambient clock, nothing
//! random. A function not listed here is a compile error.

use ledger::ports::Value;

use super::{
    error::{PgError, Run, Stop},
    expr::Expr,
    lock::{Grant, LockKey, Mode},
    query::Env,
    types::Type,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Func {
    Now,
    ClockTimestamp,
    CurrentSetting,
    SetConfig,
    CurrentUser,
    InRecovery,
    /// try, held by the transaction
    AdvisoryLock {
        tries: bool,
        transaction: bool,
    },
    AdvisoryUnlock,
    AdvisoryUnlockAll,
    Nextval,
    Coalesce,
    NullIf,
    Greatest,
    Least,
    Abs,
    Lower,
    Upper,
    Length,
}

/// What the binder has to know of a function.
pub struct Signature {
    pub func: Func,
    /// Types of the arguments; the last one repeats when `variadic`. `Unknown`: all arguments agree on one type.
    pub args: &'static [Type],
    pub optional: usize,
    pub variadic: bool,
    /// `Unknown`: the common type of the arguments.
    pub result: Type,
}

impl Func {
    /// Whether all calls within one statement give the same.
    pub fn stable(self) -> bool {
        !matches!(
            self,
            Func::ClockTimestamp
                | Func::SetConfig
                | Func::InRecovery
                | Func::AdvisoryLock { .. }
                | Func::AdvisoryUnlock
                | Func::AdvisoryUnlockAll
                | Func::Nextval
        )
    }
}

/// Looks a function up by its lower-case name.
pub fn signature(name: &str) -> Option<Signature> {
    use Type::{Bool, Int4, Int8, Text, Timestamptz, Unknown, Void};
    let sig = |func, args, result| {
        Some(Signature {
            func,
            args,
            optional: 0,
            variadic: false,
            result,
        })
    };
    let same = |func, args| {
        Some(Signature {
            func,
            args,
            optional: 0,
            variadic: true,
            result: Unknown,
        })
    };
    let lock = |tries, transaction| Func::AdvisoryLock { tries, transaction };
    match name {
        "now" | "transaction_timestamp" | "current_timestamp" => sig(Func::Now, &[], Timestamptz),
        "clock_timestamp" => sig(Func::ClockTimestamp, &[], Timestamptz),
        "current_setting" => sig(Func::CurrentSetting, &[Text, Bool], Text)
            .map(|sig| Signature { optional: 1, ..sig }),
        "set_config" => sig(Func::SetConfig, &[Text, Text, Bool], Text),
        "current_user" | "session_user" => sig(Func::CurrentUser, &[], Text),
        "pg_is_in_recovery" => sig(Func::InRecovery, &[], Bool),
        "pg_try_advisory_lock" => sig(lock(true, false), &[Int8], Bool),
        "pg_try_advisory_xact_lock" => sig(lock(true, true), &[Int8], Bool),
        "pg_advisory_lock" => sig(lock(false, false), &[Int8], Void),
        "pg_advisory_xact_lock" => sig(lock(false, true), &[Int8], Void),
        "pg_advisory_unlock" => sig(Func::AdvisoryUnlock, &[Int8], Bool),
        "pg_advisory_unlock_all" => sig(Func::AdvisoryUnlockAll, &[], Void),
        "nextval" => sig(Func::Nextval, &[Int8], Int8),
        "coalesce" => same(Func::Coalesce, &[Unknown]),
        "greatest" => same(Func::Greatest, &[Unknown]),
        "least" => same(Func::Least, &[Unknown]),
        "nullif" => same(Func::NullIf, &[Unknown, Unknown]),
        "lower" => sig(Func::Lower, &[Text], Text),
        "upper" => sig(Func::Upper, &[Text], Text),
        "length" | "char_length" => sig(Func::Length, &[Text], Int4),
        "abs" => sig(Func::Abs, &[Int8], Int8),
        _ => None,
    }
}

/// Calls a function.
pub fn call(func: Func, args: &[Expr], env: &mut Env<'_>) -> Run<Value> {
    match func {
        Func::Now => Ok(Value::Timestamp(env.session.txn.now_us)),
        Func::ClockTimestamp => Ok(Value::Timestamp(env.session.wall_us)),
        Func::CurrentUser => Ok(Value::Text(env.session.role.clone())),
        Func::InRecovery => Ok(Value::Bool(env.aux.standby)),
        Func::CurrentSetting | Func::SetConfig => setting(func, args, env),
        Func::AdvisoryLock { .. } | Func::AdvisoryUnlock | Func::AdvisoryUnlockAll => {
            advisory(func, args, env)
        }
        Func::Nextval => nextval(args, env),
        Func::Coalesce => {
            for arg in args {
                let value = arg.eval(env)?;
                if !matches!(value, Value::Null) {
                    return Ok(value);
                }
            }
            Ok(Value::Null)
        }
        Func::NullIf
        | Func::Greatest
        | Func::Least
        | Func::Abs
        | Func::Lower
        | Func::Upper
        | Func::Length => {
            let mut values = Vec::with_capacity(args.len());
            for arg in args {
                values.push(arg.eval(env)?);
            }
            pure(func, values)
        }
    }
}

fn pure(func: Func, mut values: Vec<Value>) -> Run<Value> {
    match func {
        Func::NullIf if values.first() == values.get(1) => return Ok(Value::Null),
        Func::Greatest | Func::Least => {
            values.retain(|value| !matches!(value, Value::Null));
            let best = if func == Func::Greatest {
                values.into_iter().max()
            } else {
                values.into_iter().min()
            };
            return Ok(best.unwrap_or(Value::Null));
        }
        _ => {}
    }
    Ok(match (func, values.into_iter().next()) {
        (Func::NullIf, Some(value)) => value,
        (Func::Abs, Some(Value::Int(value))) => Value::Int(
            value
                .checked_abs()
                .ok_or_else(|| PgError::new("22003", "bigint out of range"))?,
        ),
        (Func::Lower, Some(Value::Text(text))) => Value::Text(text.to_lowercase().into()),
        (Func::Upper, Some(Value::Text(text))) => Value::Text(text.to_uppercase().into()),
        (Func::Length, Some(Value::Text(text))) => Value::Int(text.chars().count() as i64),
        _ => Value::Null,
    })
}

fn setting(func: Func, args: &[Expr], env: &mut Env<'_>) -> Run<Value> {
    let Value::Text(name) = args[0].eval(env)? else {
        return Ok(Value::Null);
    };
    if func == Func::SetConfig {
        let value = match args[1].eval(env)? {
            Value::Text(value) => value,
            _ => "".into(),
        };
        let local = args[2].test(env)? == Some(true);
        env.session.set(&name, value.clone(), local)?;
        return Ok(Value::Text(value));
    }
    match env.session.setting(&name) {
        Some(value) => Ok(Value::Text(value)),
        None => {
            if let Some(missing_ok) = args.get(1)
                && missing_ok.test(env)? == Some(true)
            {
                return Ok(Value::Null);
            }
            Err(PgError::new(
                "42704",
                format!("unrecognized configuration parameter \"{name}\""),
            )
            .into())
        }
    }
}

fn advisory(func: Func, args: &[Expr], env: &mut Env<'_>) -> Run<Value> {
    let session = env.session.id;
    if func == Func::AdvisoryUnlockAll {
        while let Some(key) = env.session.advisory.pop() {
            env.aux
                .locks
                .release(session, LockKey::Advisory(key), false, false);
        }
        return Ok(Value::Text("".into()));
    }
    let Value::Int(key) = args[0].eval(env)? else {
        return Ok(Value::Null);
    };
    let lock = LockKey::Advisory(key);
    let Func::AdvisoryLock { tries, transaction } = func else {
        let at = env.session.advisory.iter().rposition(|held| *held == key);
        if let Some(at) = at {
            env.session.advisory.remove(at);
            env.aux.locks.release(session, lock, false, false);
        }
        return Ok(Value::Bool(at.is_some()));
    };
    // After a wait the lock is already held: the grant itself took it.
    let granted = env
        .session
        .waited_for
        .take_if(|waited| *waited == lock)
        .is_some();
    if !granted && env.aux.locks.try_lock(session, lock, Mode::AccessExclusive) == Grant::Busy {
        return if tries {
            Ok(Value::Bool(false))
        } else {
            Err(Stop::Wait(lock, Mode::AccessExclusive))
        };
    }
    if transaction {
        env.session.txn.advisory.push(key);
    } else {
        env.session.advisory.push(key);
    }
    Ok(if tries {
        Value::Bool(true)
    } else {
        Value::Text("".into())
    })
}

fn nextval(args: &[Expr], env: &mut Env<'_>) -> Run<Value> {
    let Value::Int(id) = args[0].eval(env)? else {
        return Ok(Value::Null);
    };
    if env.aux.standby {
        return Err(PgError::new(
            "25006",
            "cannot execute nextval() in a read-only transaction",
        )
        .into());
    }
    let id = id as u32;
    let next = env.aux.sequences.entry(id).or_insert(0);
    *next += 1;
    let value = *next;
    if !env.session.txn.sequences.contains(&id) {
        env.session.txn.sequences.push(id);
    }
    Ok(Value::Int(value))
}
