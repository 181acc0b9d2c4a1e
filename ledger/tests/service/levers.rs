//! Who may pull a lever, and what the audit log's rows decide.

use ledger::{Duty, Principal, Secret, ports::Value};
use serde_json::{Value as Json, json};

use crate::fakes::{ALLOCATION, Reply, Service, TENANT, TOKEN};

const PROPERTY: &str = "00000000-0000-0000-0000-00000000000f";
const STOP: &str = "stop-sell-property";
const FREEZE: &str = "freeze-tenant-writes";
const REPLAY: &str = "replay-outbox";
const MINUTE: i64 = 60_000_000;

fn service() -> Service {
    Service::new(|config| {
        config.principals = [
            ("ada", Duty::PlatformEngineer),
            ("ben", Duty::PlatformEngineer),
            ("sue", Duty::Sre),
        ]
        .map(|(name, duty)| Principal {
            name: name.to_owned(),
            duty,
            token: Secret(format!("the token of {name}")),
        })
        .to_vec();
    })
}

fn call(service: &Service, who: &str, lever: &str, body: &str) -> (u16, Json) {
    let token = format!("Bearer the token of {who}");
    let headers = [
        ("x-tenant-id", TENANT),
        ("x-correlation-id", "INC-7"),
        ("authorization", &token),
    ];
    let line = format!("POST /internal/admin/{lever}");
    let (status, _, answer) = service.world.run(service.send(&line, &headers, body));
    (status, answer)
}

fn close() -> String {
    format!(r#"{{"property_id":"{PROPERTY}","stop_sell":true}}"#)
}

/// A row of `audit_find`.
fn entry(step: &str, target: &str, principal: &str, age: i64) -> Vec<Value> {
    vec![
        step.into(),
        STOP.into(),
        target.into(),
        principal.into(),
        Value::Interval(age),
    ]
}

#[test]
fn what_may_not_be_is_refused_before_the_database_is_asked() {
    let ada = ("authorization", "Bearer the token of ada");
    let (tenant, id) = (("x-tenant-id", TENANT), ("x-correlation-id", "INC-7"));
    let job = format!("Bearer {TOKEN}");
    let long = "x".repeat(201);
    let freeze = r#"{"frozen":true,"reason":"repair"}"#;
    for (headers, lever, body, status, says) in [
        (vec![tenant, id], FREEZE, freeze, 401, "principal's"),
        (
            vec![tenant, id, ("authorization", "Bearer the token of eve")],
            FREEZE,
            freeze,
            401,
            "principal's",
        ),
        (
            vec![tenant, id, ("authorization", &job)],
            FREEZE,
            freeze,
            401,
            "principal's",
        ),
        (
            vec![tenant, id, ("authorization", "Bearer the token of sue")],
            FREEZE,
            freeze,
            403,
            "platform engineer's",
        ),
        (vec![id, ada], FREEZE, freeze, 400, "x-tenant-id"),
        (vec![tenant, ada], FREEZE, freeze, 400, "x-correlation-id"),
        (
            vec![tenant, ada, ("x-correlation-id", "a b")],
            FREEZE,
            freeze,
            400,
            "x-correlation-id",
        ),
        (vec![tenant, id, ada], FREEZE, "", 400, "body"),
        (
            vec![tenant, id, ada],
            FREEZE,
            r#"{"frozen":true,"reason":""}"#,
            400,
            "reason",
        ),
        (
            vec![tenant, id, ada],
            FREEZE,
            &format!(r#"{{"frozen":true,"reason":"{long}"}}"#),
            400,
            "reason",
        ),
        (
            vec![tenant, id, ada],
            FREEZE,
            r#"{"frozen":true,"reason":"x","until":1}"#,
            400,
            "until",
        ),
        (vec![tenant, id, ada], STOP, freeze, 400, "frozen"),
        (
            vec![tenant, id, ada],
            REPLAY,
            r#"{"outbox_id":"1"}"#,
            400,
            "i64",
        ),
    ] {
        let service = service();
        let line = format!("POST /internal/admin/{lever}");
        let (got, _, answer) = service.world.run(service.send(&line, &headers, body));
        let told = answer["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(got, status, "{headers:?} {body}: {answer}");
        assert!(told.contains(says), "{headers:?} {body}: {answer}");
        assert_eq!(service.count("begin"), 0, "{answer}");
    }
}

#[test]
fn a_change_of_a_frozen_tenant_is_refused_and_undone() {
    let id = ALLOCATION;
    for change in ["hold", "confirm", "release", "cancel"] {
        let service = service();
        let frozen = Reply::Rows(vec![vec!["repair of Tuesday".into()]]);
        service.fakes.db().always("tenant_frozen", frozen);
        let (status, retry, answer) = match change {
            "hold" => service.world.run(service.hold("k")),
            verb => {
                let line = format!("POST /v1/allocations/{id}/{verb}");
                let headers = [("x-tenant-id", TENANT)];
                service.world.run(service.send(&line, &headers, ""))
            }
        };
        assert_eq!(
            (status, retry.as_deref(), &answer["error"]["code"]),
            (
                503,
                Some("1"),
                &json!("MELMASTOON.INVENTORY.MAINTENANCE_FREEZE")
            ),
            "{change}: {answer}"
        );
        assert_eq!(answer["error"]["reason"], "repair of Tuesday");
        assert_eq!(service.count("commit"), 0, "{change}");
        assert_eq!(service.count("rollback"), 1, "{change}");
        let counted = format!("inventory_allocations_total{{op=\"{change}\",outcome=\"frozen\"}}");
        assert_eq!(service.metric(&counted), Some(1.0));
    }
}

#[test]
fn two_persons_close_a_property_each_with_the_same_words() {
    let (before, late) = (14 * MINUTE, 16 * MINUTE);
    let same = close();
    let other = r#"{"property_id":"other","stop_sell":true}"#;
    for (who, rows, status, says) in [
        ("ada", vec![], 202, "awaiting_second_person"),
        (
            "ada",
            vec![entry("requested", &same, "ada", before)],
            202,
            "awaiting_second_person",
        ),
        (
            "ben",
            vec![entry("requested", &same, "ada", before)],
            200,
            "done",
        ),
        (
            "ben",
            vec![entry("requested", &same, "ada", late)],
            409,
            "request_too_old",
        ),
        (
            "ben",
            vec![entry("requested", other, "ada", before)],
            422,
            "CORRELATION_ID_REUSED",
        ),
        (
            "ada",
            vec![
                entry("done", &same, "ben", late),
                entry("requested", &same, "ada", late),
            ],
            200,
            "done_before",
        ),
    ] {
        let service = service();
        {
            let mut db = service.fakes.db();
            db.always("audit_find", Reply::Rows(rows.clone()));
            db.always("audit_insert", Reply::Rows(vec![vec!["done".into()]]));
            let types = Reply::Rows(vec![vec![Value::Uuid(ALLOCATION)]]);
            db.always("property_room_types", types);
            db.always("stop_sell_nights", Reply::Affected(9));
        }
        let (got, answer) = call(&service, who, STOP, &same);
        let told = answer["status"].as_str();
        let told = told
            .or(answer["error"]["code"].as_str())
            .unwrap_or_default();
        assert_eq!((got, told), (status, says), "{rows:?}: {answer}");
        let pulled = service.count("stop_sell_nights");
        assert_eq!(pulled, usize::from(says == "done"), "{rows:?}");
        if says == "done" {
            assert_eq!(answer["changed"], 9);
            let calls = service.fakes.db().calls.clone();
            let at = |name: &str| calls.iter().position(|call| call == name).unwrap();
            assert!(at("audit_insert") < at("hold_lock_nights"), "{calls:?}");
            assert!(at("hold_lock_nights") < at("stop_sell_nights"), "{calls:?}");
            assert_eq!(service.count("commit"), 1, "one transaction");
        }
    }
}

#[test]
fn who_comes_second_in_a_race_looks_again() {
    let service = service();
    {
        let mut db = service.fakes.db();
        let done = vec![
            "done".into(),
            FREEZE.into(),
            r#"{"frozen":true,"reason":"repair"}"#.into(),
            "ben".into(),
            Value::Interval(1),
        ];
        db.next("audit_find", [Reply::Rows(vec![]), Reply::Rows(vec![done])]);
        db.always("audit_insert", Reply::Rows(vec![]));
    }
    let body = r#"{"frozen":true,"reason":"repair"}"#;
    let (status, answer) = call(&service, "ada", FREEZE, body);
    assert_eq!((status, &answer["status"]), (200, &json!("done_before")));
    assert_eq!(service.count("freeze_tenant"), 0);
}

#[test]
fn a_target_that_is_not_there_leaves_no_trace() {
    for (lever, body, code) in [
        (STOP, close(), "property_not_found"),
        (REPLAY, r#"{"outbox_id":9}"#.to_owned(), "event_not_found"),
    ] {
        let service = service();
        service
            .fakes
            .db()
            .always("audit_insert", Reply::Rows(vec![vec!["done".into()]]));
        let (status, answer) = call(&service, "ada", lever, &body);
        assert_eq!((status, &answer["error"]["code"]), (404, &json!(code)));
        assert_eq!((service.count("commit"), service.count("rollback")), (0, 1));
    }
}
