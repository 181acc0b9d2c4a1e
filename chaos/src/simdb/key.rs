//! Index keys as bytes whose order is the order of the values, so that an index compares with `memcmp`.
//!
//! Invariant: `encode(a) < encode(b)` exactly when `a < b` under PostgreSQL's btree order with NULLS LAST and collation "C".
//! Each key ends with its row's number: entries are unique and equal values stand in insertion order.

use ledger::ports::Value;

const NULL: u8 = 2;
const VALUE: u8 = 1;

/// Appends a value.
pub fn push(key: &mut Vec<u8>, value: &Value) {
    if matches!(value, Value::Null) {
        key.push(NULL);
        return;
    }
    key.push(VALUE);
    match value {
        Value::Null => {}
        Value::Bool(value) => key.push(u8::from(*value)),
        Value::Int(value) | Value::Timestamp(value) | Value::Interval(value) => {
            key.extend_from_slice(&((*value as u64) ^ (1 << 63)).to_be_bytes());
        }
        Value::Date(value) => key.extend_from_slice(&((*value as u32) ^ (1 << 31)).to_be_bytes()),
        Value::Uuid(value) => key.extend_from_slice(value.as_bytes()),
        Value::Text(value) => {
            key.extend_from_slice(value.as_bytes());
            key.push(0); // PostgreSQL's text holds no zero byte
        }
    }
}

/// Marks where the NULLs of a column begin: the end of any range over values.
pub fn push_nulls_start(key: &mut Vec<u8>) {
    key.push(NULL);
}

/// Appends the row's number.
pub fn push_row(key: &mut Vec<u8>, row: u32) {
    key.extend_from_slice(&row.to_be_bytes());
}

/// Turns `key` into the smallest key above all that begin with it; false when there is none.
pub fn advance(key: &mut Vec<u8>) -> bool {
    while let Some(last) = key.last_mut() {
        if *last < 255 {
            *last += 1;
            return true;
        }
        key.pop();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        push(&mut bytes, value);
        bytes
    }

    #[test]
    fn bytes_sort_as_values_do_and_nulls_come_last() {
        let rows = [
            vec![
                Value::Int(i64::MIN),
                Value::Int(-1),
                Value::Int(0),
                Value::Int(i64::MAX),
                Value::Null,
            ],
            vec![
                Value::Date(i32::MIN),
                Value::Date(-1),
                Value::Date(20_000),
                Value::Null,
            ],
            vec![
                Value::Text("".into()),
                Value::Text("a".into()),
                Value::Text("ab".into()),
                Value::Text("b".into()),
            ],
            vec![Value::Bool(false), Value::Bool(true), Value::Null],
        ];
        for row in rows {
            for pair in row.windows(2) {
                assert!(key(&pair[0]) < key(&pair[1]), "{pair:?}");
            }
        }
    }

    #[test]
    fn the_successor_of_a_prefix_is_above_every_key_that_begins_with_it() {
        let mut prefix = vec![1, 255];
        assert!(advance(&mut prefix));
        assert_eq!(prefix, [2]);
        assert!(!advance(&mut vec![255]));
    }
}
