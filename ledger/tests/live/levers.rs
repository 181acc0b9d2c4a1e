//! The emergency levers on a real database: what they stop, whom, and what they leave in the audit log.

use ledger::{Config, Duty, Principal, Secret};
use serde_json::{Value as Json, json};

use crate::api::{Answer, Hotel, Ledger, live};

const FIRST: &str = "2026-12-01";

fn with_principals(config: &mut Config) {
    config.principals = ["ada", "ben"]
        .map(|name| Principal {
            name: name.to_owned(),
            duty: Duty::PlatformEngineer,
            token: Secret(format!("the token of {name}")),
        })
        .to_vec();
}

impl Ledger {
    async fn pull(&self, who: &str, hotel: &Hotel, id: &str, lever: &str, body: Json) -> Answer {
        let (tenant, token) = (
            hotel.tenant.to_string(),
            format!("Bearer the token of {who}"),
        );
        let headers = [
            ("x-tenant-id", tenant.as_str()),
            ("x-correlation-id", id),
            ("authorization", &token),
        ];
        let path = format!("/internal/admin/{lever}");
        self.send("POST", &path, &headers, Some(body)).await
    }

    async fn audited(&self, hotel: &Hotel) -> i64 {
        let tenant = hotel.tenant;
        self.number(&format!(
            "SELECT count(*) FROM audit_log WHERE tenant_id = '{tenant}'"
        ))
        .await
    }
}

#[test]
fn a_frozen_tenant_changes_nothing_and_others_go_on() {
    live(with_principals, |ledger| async move {
        let (frozen, other) = (ledger.hotel(3, 2).await, ledger.hotel(3, 2).await);
        let held = ledger.hold(&frozen, "before", FIRST, 1).await.id();
        let freeze = |frozen: bool| json!({ "frozen": frozen, "reason": "repair" });
        let lever = "freeze-tenant-writes";
        let done = ledger
            .pull("ada", &frozen, "I-1", lever, freeze(true))
            .await;
        assert_eq!(
            (done.status, &done.body["changed"]),
            (200, &json!(1)),
            "{}",
            done.body
        );
        let code = "MELMASTOON.INVENTORY.MAINTENANCE_FREEZE";
        let refused = ledger.hold(&frozen, "k", FIRST, 1).await;
        assert_eq!((refused.status, refused.code()), (503, code));
        assert!(refused.retry_after.is_some());
        let refused = ledger.change(frozen.tenant, &held, "confirm").await;
        assert_eq!((refused.status, refused.code()), (503, code));
        assert_eq!(
            ledger.left(&frozen, FIRST).await,
            2,
            "the hold from before alone"
        );
        assert_eq!(ledger.hold(&other, "k", FIRST, 1).await.status, 201);
        let search = format!(
            "/v1/room-types/{}/availability?arrival={FIRST}&nights=1",
            frozen.room_type
        );
        assert_eq!(
            ledger.get(frozen.tenant, &search).await.status,
            200,
            "reads go on"
        );
        let again = ledger
            .pull("ada", &frozen, "I-1", lever, freeze(true))
            .await;
        assert_eq!(again.body["status"], "done_before");
        let reused = ledger
            .pull("ada", &frozen, "I-1", lever, freeze(false))
            .await;
        assert_eq!(
            (reused.status, reused.code()),
            (422, "CORRELATION_ID_REUSED")
        );
        let thawed = ledger
            .pull("ben", &frozen, "I-2", lever, freeze(false))
            .await;
        assert_eq!((thawed.status, &thawed.body["changed"]), (200, &json!(1)));
        assert_eq!(ledger.hold(&frozen, "k", FIRST, 1).await.status, 201);
        assert_eq!(
            (ledger.audited(&frozen).await, ledger.audited(&other).await),
            (2, 0)
        );
    });
}

#[test]
fn two_persons_close_a_property_and_open_it_again() {
    live(with_principals, |ledger| async move {
        let hotel = ledger.hotel(3, 2).await;
        let lever = "stop-sell-property";
        let body = |stop: bool| json!({ "property_id": hotel.property, "stop_sell": stop });
        for _ in 0..2 {
            let asked = ledger.pull("ada", &hotel, "I-1", lever, body(true)).await;
            assert_eq!(
                (asked.status, &asked.body["status"]),
                (202, &json!("awaiting_second_person"))
            );
        }
        assert_eq!(
            ledger.hold(&hotel, "k1", FIRST, 1).await.status,
            201,
            "one person closes nothing"
        );
        let closed = ledger.pull("ben", &hotel, "I-1", lever, body(true)).await;
        assert_eq!(
            (closed.status, &closed.body["changed"]),
            (200, &json!(2)),
            "{}",
            closed.body
        );
        assert_eq!(
            ledger.hold(&hotel, "k2", FIRST, 1).await.code(),
            "insufficient_availability"
        );
        ledger.pull("ben", &hotel, "I-2", lever, body(false)).await;
        let opened = ledger.pull("ada", &hotel, "I-2", lever, body(false)).await;
        assert_eq!((opened.status, &opened.body["changed"]), (200, &json!(2)));
        assert_eq!(ledger.hold(&hotel, "k2", FIRST, 1).await.status, 201);
        assert_eq!(ledger.audited(&hotel).await, 4);
        let nowhere = json!({ "property_id": hotel.tenant, "stop_sell": true });
        let missed = ledger.pull("ada", &hotel, "I-3", lever, nowhere).await;
        assert_eq!((missed.status, missed.code()), (404, "property_not_found"));
        assert_eq!(ledger.audited(&hotel).await, 4);
    });
}

#[test]
fn an_event_is_published_again_for_its_own_tenant_alone() {
    live(with_principals, |ledger| async move {
        let (hotel, other) = (ledger.hotel(3, 2).await, ledger.hotel(3, 2).await);
        ledger.hold(&hotel, "k", FIRST, 1).await;
        assert_eq!(ledger.job("relay-outbox").await.status, 200);
        let published = |ledger: &Ledger| ledger.broker.0.lock().unwrap().clone();
        let before = published(&ledger);
        let event = before.last().unwrap().clone();
        let body = json!({ "outbox_id": event.id });
        let foreign = ledger
            .pull("ada", &other, "I-1", "replay-outbox", body.clone())
            .await;
        assert_eq!((foreign.status, foreign.code()), (404, "event_not_found"));
        let replayed = ledger
            .pull("ada", &hotel, "I-1", "replay-outbox", body)
            .await;
        assert_eq!(
            (replayed.status, &replayed.body["changed"]),
            (200, &json!(1)),
            "{}",
            replayed.body
        );
        assert_eq!(ledger.job("relay-outbox").await.status, 200);
        let after = published(&ledger);
        assert_eq!(after.len(), before.len() + 1);
        assert_eq!(after.last(), Some(&event), "under the same id");
        assert_eq!(
            (ledger.audited(&hotel).await, ledger.audited(&other).await),
            (1, 0)
        );
    });
}

/// What the service may not do is what nobody may do with its login.
#[test]
fn the_audit_log_only_grows() {
    live(with_principals, |ledger| async move {
        let hotel = ledger.hotel(1, 1).await;
        let body = json!({ "frozen": true, "reason": "repair" });
        ledger
            .pull("ada", &hotel, "I-1", "freeze-tenant-writes", body)
            .await;
        let granted = "SELECT count(*) FROM information_schema.role_table_grants WHERE table_name = 'audit_log'
            AND grantee IN ('ledger_app', 'ledger_worker') AND privilege_type NOT IN ('SELECT', 'INSERT')";
        assert_eq!(ledger.number(granted).await, 0);
    });
}
