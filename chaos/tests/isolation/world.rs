//! Names and rows of the specs: a short name is a uuid, a setup line is an INSERT, a value prints without what changes per run.
//!
//! Setup lines: `tenant U` (of the lines after it; `T` at first), `property P`, `room_type R of P`, `room M of R number 1`,
//! `night R 2026-12-24 capacity 5 [extra 1] [held 2] [confirmed 2] [closed]`,
//! `allocation K of R 2026-12-24 2026-12-26 <late|late+N|live|confirmed|released|expired|cancelled> [room M]`,
//! `key k -> K`, `event K [published]`, `frozen`, `requested c`.
//! Invariant: a uuid made from a name prints as that name. Left out: names beyond 15 ASCII letters.

use ledger::ports::Value;
use uuid::Uuid;

/// 2999-01-01: a hold that does not end.
pub const LIVE_US: i64 = 32_472_144_000_000_000;
/// 2001-01-01: a hold that ended long ago.
pub const LATE_US: i64 = 978_307_200_000_000;
const DAY_US: i64 = 86_400_000_000;

/// The uuid that spells a name.
///
/// # Panics
/// If the name is longer than 15 letters.
pub fn uuid(name: &str) -> Uuid {
    assert!(
        name.len() < 16 && name.is_ascii() && !name.is_empty(),
        "`{name}` is no short name"
    );
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    Uuid::from_bytes(bytes)
}

/// SQL text with each `{K}` replaced by the uuid of that name.
pub fn spell(sql: &str) -> Result<String, String> {
    let mut parts = sql.split('{');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (short, rest) = part.split_once('}').ok_or("a `{` is not closed")?;
        out.push_str(&format!("'{}'{rest}", uuid(short)));
    }
    Ok(out)
}

fn name(uuid: Uuid) -> String {
    let bytes = uuid.as_bytes();
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    let spelled = &bytes[..end];
    if spelled.is_empty() || !spelled.iter().all(u8::is_ascii_graphic) {
        return uuid.to_string();
    }
    String::from_utf8_lossy(spelled).into_owned()
}

/// A parameter's value from a spec's word, by the type that the statement's comment names.
pub fn parameter(word: &str, sql_type: &str) -> Result<Value, String> {
    let bad = |error: &dyn std::fmt::Display| format!("`{word}` is no {sql_type}: {error}");
    if word == "null" {
        return Ok(Value::Null);
    }
    Ok(match sql_type {
        "uuid" => Value::Uuid(uuid(word)),
        "text" => Value::Text(word.into()),
        "date" => {
            let date: jiff::civil::Date = word.parse().map_err(|e| bad(&e))?;
            let epoch = jiff::civil::date(1970, 1, 1);
            Value::Date(date.since(epoch).map_err(|e| bad(&e))?.get_days())
        }
        "boolean" => Value::Bool(word.parse().map_err(|e| bad(&e))?),
        "integer" | "bigint" => Value::Int(word.parse().map_err(|e| bad(&e))?),
        other => {
            return Err(format!(
                "a parameter of type `{other}` is not supported here"
            ));
        }
    })
}

/// A value as the specs write it; `now_us` is the arm's wall clock.
pub fn print(value: &Value, now_us: i64) -> String {
    let days = |us: i64| (us + us.signum() * DAY_US / 2) / DAY_US;
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Text(value) => value.to_string(),
        Value::Uuid(value) => name(*value),
        Value::Date(value) => {
            let days = jiff::Span::new().days(i64::from(*value));
            (jiff::civil::date(1970, 1, 1) + days).to_string()
        }
        Value::Timestamp(LIVE_US) => "live".to_owned(),
        Value::Timestamp(LATE_US) => "late".to_owned(),
        Value::Timestamp(us)
            if (us - LATE_US) % DAY_US == 0 && (us - LATE_US).abs() < 100 * DAY_US =>
        {
            format!("late+{}", (us - LATE_US) / DAY_US)
        }
        Value::Timestamp(us) => match days(us - now_us) {
            0 => "now".to_owned(),
            days => format!("now{days:+}d"),
        },
        Value::Interval(us) => match (days(*us), *us < 0) {
            (0, _) => "short".to_owned(),
            (_, true) => "-long".to_owned(),
            (_, false) => "long".to_owned(),
        },
    }
}

/// A setup line's tenant and INSERT; `None` for a line that only names the tenant.
pub fn insert(line: &str, tenant: &mut String) -> Result<Option<String>, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let id = |name: &str| format!("'{}'", uuid(name));
    let sql = match words[..] {
        ["tenant", name] => {
            name.clone_into(tenant);
            return Ok(None);
        }
        ["property", p] => format!(
            "INSERT INTO properties (property_id, name) VALUES ({}, '{p}')",
            id(p)
        ),
        ["room_type", r, "of", p] => format!(
            "INSERT INTO room_types (room_type_id, property_id, name) VALUES ({}, {}, '{r}')",
            id(r),
            id(p)
        ),
        ["room", m, "of", r, "number", number] => format!(
            "INSERT INTO rooms (room_id, room_type_id, number) VALUES ({}, {}, '{number}')",
            id(m),
            id(r)
        ),
        ["night", r, night, ref rest @ ..] => night_insert(&id(r), night, rest)?,
        [
            "allocation",
            k,
            "of",
            r,
            arrival,
            departure,
            state,
            ref rest @ ..,
        ] => {
            let room = match rest {
                [] => "NULL".to_owned(),
                ["room", m] => id(m),
                _ => return Err(format!("what is `{}`?", rest.join(" "))),
            };
            let (status, until) = match state.strip_prefix("late") {
                Some("") => ("held", format!("'{}'", instant(LATE_US)?)),
                Some(more) => {
                    let days: i64 = more
                        .parse()
                        .map_err(|_| format!("`{state}`: want late+<days>"))?;
                    ("held", format!("'{}'", instant(LATE_US + days * DAY_US)?))
                }
                None if state == "live" => ("held", format!("'{}'", instant(LIVE_US)?)),
                None => (state, "NULL".to_owned()),
            };
            format!(
                "INSERT INTO room_allocations (allocation_id, room_type_id, room_id, arrival, departure, channel, status, hold_until) \
                 VALUES ({}, {}, {room}, '{arrival}', '{departure}', 'web', '{status}', {until})",
                id(k),
                id(r)
            )
        }
        ["key", key, "->", k] => format!(
            "INSERT INTO idempotency_keys (idempotency_key, request_hash, allocation_id) VALUES ('{key}', 'hash', {})",
            id(k)
        ),
        ["event", k] => format!(
            "INSERT INTO outbox (ordering_key, event_type, payload) VALUES ({}, 'held', '{k}')",
            id(k)
        ),
        ["event", k, "published"] => format!(
            "INSERT INTO outbox (ordering_key, event_type, payload, published_at) VALUES ({}, 'held', '{k}', '{}')",
            id(k),
            instant(LATE_US)?
        ),
        ["frozen"] => "INSERT INTO tenant_freezes (reason) VALUES ('repair')".to_owned(),
        ["requested", c] => format!(
            "INSERT INTO audit_log (correlation_id, step, lever, target, principal) VALUES ('{c}', 'requested', 'lever', 'target', 'ada')"
        ),
        _ => return Err(format!("no such setup line: {line}")),
    };
    Ok(Some(sql))
}

fn night_insert(room_type: &str, night: &str, rest: &[&str]) -> Result<String, String> {
    let (mut capacity, mut extra, mut held, mut confirmed, mut closed) =
        ("0", "0", "0", "0", false);
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        let slot = match *word {
            "closed" => {
                closed = true;
                continue;
            }
            "capacity" => &mut capacity,
            "extra" => &mut extra,
            "held" => &mut held,
            "confirmed" => &mut confirmed,
            other => return Err(format!("a night has no `{other}`")),
        };
        *slot = words.next().ok_or("a number is missing")?;
    }
    Ok(format!(
        "INSERT INTO room_type_inventory_daily (room_type_id, night, capacity, policy_extra, held, confirmed, stop_sell) \
         VALUES ({room_type}, '{night}', {capacity}, {extra}, {held}, {confirmed}, {closed})"
    ))
}

fn instant(us: i64) -> Result<String, String> {
    jiff::Timestamp::from_microsecond(us)
        .map(|t| t.strftime("%Y-%m-%d %H:%M:%S+00").to_string())
        .map_err(|error| error.to_string())
}

#[test]
fn a_name_survives_its_uuid() {
    for text in ["T", "expire-holds", "K15letterslong1"] {
        assert_eq!(print(&Value::Uuid(uuid(text)), 0), text);
    }
    assert_eq!(spell("a = {T}!").unwrap(), format!("a = '{}'!", uuid("T")));
    let foreign = Uuid::from_u128(7);
    assert_eq!(print(&Value::Uuid(foreign), 0), foreign.to_string());
}

#[test]
fn a_value_prints_without_what_changes_per_run() {
    let now = 1_790_000_000_000_000;
    let rows = [
        (Value::Timestamp(LIVE_US), "live"),
        (Value::Timestamp(LATE_US), "late"),
        (Value::Timestamp(LATE_US + 3 * DAY_US), "late+3"),
        (Value::Timestamp(now + 4_000_000), "now"),
        (Value::Timestamp(now + DAY_US - 4_000_000), "now+1d"),
        (Value::Timestamp(now - 2 * DAY_US), "now-2d"),
        (Value::Interval(3_000_000), "short"),
        (Value::Interval(3 * DAY_US), "long"),
        (Value::Date(20_446), "2025-12-24"),
    ];
    for (value, want) in rows {
        assert_eq!(print(&value, now), want);
    }
}
