//! Every JSON report has the shape that a schema in `docs/` publishes; here `docs/run.schema.json`.
//!
//! The validator knows the keywords that the schema uses, and fails on any other.

use serde_json::Value;

/// What of `value` is not as `schema` says; empty if all is.
pub fn violations(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, schema, value, "$", &mut found);
    found
}

/// The published schema.
pub fn published() -> Value {
    let text = std::fs::read_to_string(crate::program::root().join("docs/run.schema.json"))
        .expect("the schema is there");
    serde_json::from_str(&text).expect("the schema is JSON")
}

fn check(root: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let mut fail = |what: String| found.push(format!("{path}: {what}"));
    let keywords = schema.as_object().expect("a schema is an object");
    let mut deeper: Vec<(&Value, &Value, String)> = Vec::new();
    for (keyword, rule) in keywords {
        match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" => {}
            "$ref" => {
                let pointer = rule
                    .as_str()
                    .and_then(|rule| rule.strip_prefix('#'))
                    .expect("a local reference");
                deeper.push((
                    root.pointer(pointer)
                        .expect("the reference leads somewhere"),
                    value,
                    path.to_owned(),
                ));
            }
            "type" => {
                let types = rule
                    .as_array()
                    .cloned()
                    .unwrap_or_else(|| vec![rule.clone()]);
                if !types
                    .iter()
                    .any(|wanted| has_type(value, wanted.as_str().expect("a type's name")))
                {
                    fail(format!("{value} is not {rule}"));
                }
            }
            "enum" => {
                if !rule.as_array().expect("a list").contains(value) {
                    fail(format!("{value} is not one of {rule}"));
                }
            }
            "minimum" => {
                if value
                    .as_f64()
                    .is_some_and(|number| number < rule.as_f64().expect("a number"))
                {
                    fail(format!("{value} is less than {rule}"));
                }
            }
            "pattern" => {
                assert_eq!(
                    rule, "^([0-9a-f]{64})?$",
                    "the only pattern that this validator knows"
                );
                let text = value.as_str().unwrap_or_default();
                let hex = text
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
                if !(text.is_empty() || text.len() == 64 && hex) {
                    fail(format!("{value} is no SHA-256"));
                }
            }
            // Of an object; that it is one, the type says.
            "required" if !value.is_object() => {}
            "required" => {
                for key in rule
                    .as_array()
                    .expect("a list")
                    .iter()
                    .filter_map(Value::as_str)
                {
                    if value.get(key).is_none() {
                        fail(format!("`{key}` is missing"));
                    }
                }
            }
            "properties" => {
                for (key, rule) in rule.as_object().expect("an object") {
                    if let Some(value) = value.get(key) {
                        deeper.push((rule, value, format!("{path}.{key}")));
                    }
                }
            }
            "additionalProperties" => {
                let known = keywords.get("properties").and_then(Value::as_object);
                for (key, value) in value.as_object().into_iter().flatten() {
                    if known.is_some_and(|known| known.contains_key(key)) {
                        continue;
                    }
                    match rule {
                        Value::Bool(false) => fail(format!("`{key}` is not published")),
                        rule => deeper.push((rule, value, format!("{path}.{key}"))),
                    }
                }
            }
            "items" => {
                for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                    deeper.push((rule, value, format!("{path}[{index}]")));
                }
            }
            other => panic!("this validator does not know `{other}`"),
        }
    }
    for (schema, value, path) in deeper {
        check(root, schema, value, &path, found);
    }
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "null" => value.is_null(),
        other => panic!("this validator does not know the type `{other}`"),
    }
}

fn example() -> Value {
    serde_json::json!({
        "verdict": "fail",
        "runs": [{
            "scenario": "cache-down", "seed": 1, "verdict": "fail",
            "alerts": [{"id": "RESV-INV-003", "expected": "must", "fired_at_s": 5.5, "budget_s": 675.0, "resolved_at_s": null}],
            "findings": [{"verdict": "fail", "subject": "invariant 1", "message": "why"}],
            "reach": {"lock_waits": 3}, "sim_seconds": 60.0, "cpu_seconds": 0.5, "recording_sha256": "ab".repeat(32),
        }]
    })
}

#[test]
fn the_example_has_the_published_shape_and_each_deviation_is_seen() {
    let schema = published();
    assert_eq!(violations(&schema, &example()), [""; 0]);
    for (pointer, value, reason) in [
        ("/verdict", serde_json::json!("passed"), "not one of"),
        ("/runs/0/seed", serde_json::json!(-1), "less than"),
        ("/runs/0/seed", serde_json::json!("1"), "is not \"integer\""),
        (
            "/runs/0/alerts/0",
            serde_json::json!({"id": "x"}),
            "`expected` is missing",
        ),
        (
            "/runs/0/alerts/0/fired_at_s",
            serde_json::json!("5"),
            "is not",
        ),
        (
            "/runs/0/findings/0/verdict",
            serde_json::json!("pass"),
            "not one of",
        ),
        ("/runs/0/reach/lock_waits", serde_json::json!(0.5), "is not"),
        (
            "/runs/0/recording_sha256",
            serde_json::json!("xyz"),
            "no SHA-256",
        ),
        (
            "/runs/0/findings/0",
            serde_json::json!({"verdict": "fail", "subject": "", "message": "", "x": 1}),
            "not published",
        ),
    ] {
        let mut changed = example();
        *changed.pointer_mut(pointer).expect("is there") = value;
        let found = violations(&schema, &changed);
        assert!(
            found.iter().any(|found| found.contains(reason)),
            "{pointer}: {found:?}"
        );
    }
}

#[test]
fn what_the_program_prints_has_the_published_shape() {
    let outcome = crate::program::call(&[
        "run",
        "last-room-race",
        "--seeds",
        "2",
        "--format",
        "json",
        "--quiet",
    ]);
    let report = outcome.json();
    assert_eq!(violations(&published(), &report), [""; 0]);
    assert_eq!(report["runs"].as_array().expect("a list").len(), 2);
}
