//! Relay, sweeper, auditor, collector and shutdown.

use ledger::ports::Value;
use uuid::Uuid;

use crate::fakes::{ALLOCATION, DAY, Node, PROPERTY, ROOM_TYPE, Reply, Service, TENANT, TOKEN};

fn event(id: i64) -> Vec<Value> {
    vec![
        Value::Int(id),
        Value::Uuid(TENANT.parse().unwrap()),
        Value::Uuid(ALLOCATION),
        Value::Text("allocation.held.v1".into()),
        Value::Text("{}".into()),
        Value::Timestamp(0),
        Value::Interval(1_500_000),
    ]
}

fn events(ids: std::ops::Range<i64>) -> Reply {
    Reply::Rows(ids.map(event).collect())
}

fn published(service: &Service) -> Vec<i64> {
    service
        .fakes
        .outside()
        .published
        .iter()
        .map(|message| message.id)
        .collect()
}

#[test]
fn the_relay_publishes_in_order_and_marks_what_the_broker_took() {
    let service = Service::new(|config| config.relay_batch = 3);
    service
        .fakes
        .db()
        .next("outbox_batch", [events(1..4), events(4..5)]);
    let done = service.world.run(service.app.relay()).unwrap();
    assert_eq!((done.leader, done.published), (true, 4));
    assert_eq!(published(&service), [1, 2, 3, 4]);
    let db = service.fakes.db();
    let marked: Vec<_> = db
        .params
        .iter()
        .filter(|(name, _)| name == "outbox_published")
        .map(|(_, p)| p[0].clone())
        .collect();
    assert_eq!(marked, [1, 2, 3, 4].map(Value::Int));
    drop(db);
    assert_eq!(
        service.metric("inventory_outbox_lag_seconds_count"),
        Some(4.0)
    );
    assert_eq!(
        service.metric("inventory_outbox_lag_seconds_bucket{le=\"1\"}"),
        Some(0.0)
    );
    assert_eq!(
        service.metric("inventory_outbox_lag_seconds_bucket{le=\"2.5\"}"),
        Some(4.0)
    );
}

#[test]
fn what_the_broker_refuses_is_not_marked_and_tried_again_ever_more_slowly() {
    let service = Service::new(|_| ());
    service.fakes.db().always("outbox_batch", events(7..8));
    service.fakes.outside().broker_fails = u32::MAX;
    service.app.start();
    service.world.run(service.sleep(120));
    let tries = service.fakes.outside().publications;
    assert!(
        (24..60).contains(&tries),
        "{tries} publications in two minutes"
    );
    assert_eq!(service.count("outbox_published"), 0);
    assert_eq!(
        service.metric("inventory_outbox_published_total{outcome=\"error\"}"),
        Some(f64::from(tries))
    );
}

#[test]
fn what_was_published_but_not_marked_is_published_again_under_its_id() {
    let service = Service::new(|_| ());
    service
        .fakes
        .db()
        .next("outbox_batch", [events(1..2), events(1..2)]);
    service.fakes.db().next("outbox_published", [Reply::Lose]);
    service.app.start();
    service.world.run(service.sleep(1));
    assert_eq!(published(&service), [1, 1]);
    assert_eq!(service.count("outbox_published"), 2);
}

#[test]
fn the_relay_is_woken_by_a_commit_of_its_own_instance() {
    let service = Service::new(|config| config.relay_poll = std::time::Duration::from_secs(1000));
    service.app.start();
    service.world.run(async {
        service.sleep(1).await;
        let before = service.count("outbox_batch");
        assert_eq!(service.hold("k").await.0, 201);
        service.sleep(1).await;
        assert_eq!(service.count("outbox_batch"), before + 1);
        service
            .fakes
            .db()
            .always("hold_reserve_nights", Reply::Refuse("23514"));
        assert_eq!(service.hold("k").await.0, 500);
        service.sleep(1).await;
        assert_eq!(
            service.count("outbox_batch"),
            before + 1,
            "what did not commit wakes nobody"
        );
    });
}

#[test]
fn who_does_not_lead_reads_nothing_and_asks_again_in_a_while() {
    let service = Service::new(|_| ());
    service.fakes.db().always(
        "try_leadership",
        Reply::Rows(vec![vec![Value::Bool(false)]]),
    );
    service.app.start();
    service.world.run(service.sleep(60));
    let db = service.fakes.db();
    assert_eq!(db.count("outbox_batch") + db.count("audit_room_types"), 0);
    assert!(
        (6..=10).contains(&db.count("try_leadership")),
        "{}",
        db.count("try_leadership")
    );
}

#[test]
fn a_leader_that_loses_its_session_asks_for_the_lead_again() {
    let service = Service::new(|_| ());
    service
        .fakes
        .db()
        .next("outbox_batch", [Reply::Rows(vec![]), Reply::Lose]);
    service.app.start();
    service.world.run(service.sleep(10));
    // Once for each loop, and once more for the relay.
    assert_eq!(service.count("try_leadership"), 3);
}

#[test]
fn shutdown_gives_up_the_lead_and_readiness_but_not_requests() {
    let service = Service::new(|_| ());
    service.app.start();
    service.world.run(async {
        service.sleep(1).await;
        assert!(service.app.is_ready());
        let closed = service.count("close");
        service.app.begin_shutdown();
        service.sleep(1).await;
        assert_eq!(
            service.count("close"),
            closed + 2,
            "the sessions of relay and auditor"
        );
        assert_eq!(service.send("GET /health", &[], "").await.0, 503);
        assert_eq!(service.send("GET /health/live", &[], "").await.0, 200);
        assert_eq!(service.hold("k").await.0, 201);
        let calls = service.fakes.db().calls.len();
        service.sleep(600).await;
        assert_eq!(
            service.fakes.db().calls.len(),
            calls,
            "the loops have ended"
        );
    });
}

fn candidate(id: u128) -> Vec<Value> {
    vec![
        Value::Uuid(Uuid::from_u128(0x1000 + id)),
        Value::Uuid(Uuid::from_u128(id)),
        Value::Interval(2_000_000),
    ]
}

#[test]
fn the_sweeper_takes_each_candidate_in_a_transaction_of_its_tenant() {
    let service = Service::new(|_| ());
    service.fakes.db().next(
        "sweep_candidates",
        [Reply::Rows((1..=4).map(candidate).collect())],
    );
    let one = Reply::Rows(vec![vec![Value::Uuid(ALLOCATION)]]);
    // The second is held by somebody, the third was confirmed meanwhile, the fourth's nights are in use at first.
    service.fakes.db().next(
        "sweep_lock",
        [
            one.clone(),
            Reply::Affected(0),
            one.clone(),
            one.clone(),
            one,
        ],
    );
    let stay = Reply::Rows(vec![vec![
        Value::Uuid(ROOM_TYPE),
        Value::Date(DAY),
        Value::Date(DAY + 1),
    ]]);
    service.fakes.db().next(
        "expire_allocation",
        [stay.clone(), Reply::Affected(0), stay.clone(), stay],
    );
    service.fakes.db().next(
        "release_nights",
        [
            Reply::Affected(1),
            Reply::Refuse("55P03"),
            Reply::Affected(1),
        ],
    );
    let done = service.world.run(service.app.sweep()).unwrap();
    assert_eq!((done.expired, done.skipped, done.postponed), (2, 2, 0));
    let db = service.fakes.db();
    for tenant in 1..=4_u128 {
        assert_eq!(
            db.count(&format!("begin {}", Uuid::from_u128(0x1000 + tenant))),
            if tenant == 4 { 2 } else { 1 },
            "{tenant}"
        );
    }
    assert_eq!(db.count("job_succeeded"), 1, "it ran to its end");
    assert_eq!(db.count("outbox_insert"), 2);
    drop(db);
    assert_eq!(
        service.metric("inventory_sweeper_skipped_due_to_advance_total"),
        Some(2.0)
    );
    assert_eq!(service.metric("inventory_holds_expired_total"), Some(2.0));
}

#[test]
fn the_sweeper_leaves_nights_that_stay_in_use_to_the_next_run() {
    let service = Service::new(|_| ());
    let mut db = service.fakes.db();
    db.next("sweep_candidates", [Reply::Rows(vec![candidate(1)])]);
    let one = Reply::Rows(vec![vec![Value::Uuid(ALLOCATION)]]);
    db.always("sweep_lock", one);
    let stay = vec![
        Value::Uuid(ROOM_TYPE),
        Value::Date(DAY),
        Value::Date(DAY + 1),
    ];
    db.always("expire_allocation", Reply::Rows(vec![stay]));
    db.always("release_nights", Reply::Refuse("55P03"));
    drop(db);
    let done = service.world.run(service.app.sweep()).unwrap();
    assert_eq!((done.expired, done.skipped, done.postponed), (0, 0, 1));
    let db = service.fakes.db();
    assert!(db.count("release_nights") > 1, "it came back");
    assert_eq!(db.count("job_succeeded"), 1, "it ran to its end");
}

#[test]
fn a_sweep_without_a_database_is_no_success() {
    let service = Service::new(|_| ());
    service
        .fakes
        .db()
        .next("sweep_candidates", [Reply::Rows(vec![candidate(1)])]);
    service.fakes.db().always("sweep_lock", Reply::Lose);
    service.world.run(async {
        let token = format!("Bearer {TOKEN}");
        let (status, _, body) = service
            .send(
                "POST /internal/jobs/expire-holds",
                &[("authorization", &token)],
                "",
            )
            .await;
        assert_eq!(status, 503, "{body}");
    });
    assert_eq!(service.count("job_succeeded"), 0);
    assert_eq!(
        service.metric("inventory_sweeper_runs_total{outcome=\"error\"}"),
        Some(1.0)
    );
}

#[test]
fn the_auditor_looks_at_what_changed_and_at_what_it_knows() {
    let service = Service::new(|_| ());
    let night = |night: i32| vec![Value::Date(night), Value::Int(1), Value::Int(2)];
    service.fakes.db().always(
        "audit_room_types",
        Reply::Rows(vec![vec![Value::Uuid(ROOM_TYPE)]]),
    );
    service.world.run(async {
        service
            .fakes
            .db()
            .next("audit_oversold", [Reply::Rows(vec![night(DAY + 40)])]);
        let first = service.app.audit().await.unwrap();
        assert_eq!((first.full, first.oversold), (true, 1));
        // Stays that touch are read as one range, none wider than they are; the known night lies apart.
        let stay = |version: i64, from: i32, to: i32| {
            vec![
                Value::Uuid(ALLOCATION),
                Value::Int(version),
                Value::Uuid(ROOM_TYPE),
                Value::Date(from),
                Value::Date(to),
            ]
        };
        let first_three = [
            stay(1, DAY, DAY + 2),
            stay(1, DAY + 2, DAY + 3),
            stay(1, DAY + 5, DAY + 6),
        ];
        service
            .fakes
            .db()
            .next("audit_changed", [Reply::Rows(first_three.to_vec())]);
        service.fakes.db().next(
            "audit_oversold",
            [
                Reply::Rows(vec![]),
                Reply::Rows(vec![]),
                Reply::Rows(vec![night(DAY + 40)]),
            ],
        );
        let second = service.app.audit().await.unwrap();
        assert_eq!((second.full, second.oversold), (false, 1));
        let range = |from: i32, to: i32| vec![Value::Date(from), Value::Date(to)];
        let asked = |from: usize| -> Vec<Vec<Value>> {
            let db = service.fakes.db();
            let audits = db
                .params
                .iter()
                .filter(|(name, _)| name == "audit_oversold");
            audits.skip(from).map(|(_, p)| p[1..].to_vec()).collect()
        };
        assert_eq!(
            asked(1),
            [
                range(DAY, DAY + 3),
                range(DAY + 5, DAY + 6),
                range(DAY + 40, DAY + 41),
            ]
        );
        // The window still shows what was audited: looked at again is what changed again, and the night that is known.
        let mut window = first_three.to_vec();
        window[0][1] = Value::Int(2);
        service
            .fakes
            .db()
            .next("audit_changed", [Reply::Rows(window.clone())]);
        assert_eq!(service.app.audit().await.unwrap().oversold, 0);
        assert_eq!(
            asked(4),
            [range(DAY, DAY + 2), range(DAY + 40, DAY + 41)],
            "once per change"
        );
        assert_eq!(
            service.metric("inventory_overbooking_actual_total"),
            Some(2.0)
        );
        service
            .fakes
            .db()
            .next("audit_changed", [Reply::Rows(window)]);
        assert_eq!(service.app.audit().await.unwrap().oversold, 0, "healed");
        assert!(asked(6).is_empty(), "nothing changed, nothing known");
        service.sleep(3600).await;
        assert!(service.app.audit().await.unwrap().full);
        // A pass that failed has audited nothing: whoever leads next begins with everything.
        service.fakes.db().next(
            "audit_changed",
            [Reply::Rows(vec![stay(1, DAY + 9, DAY + 10)])],
        );
        service
            .fakes
            .db()
            .next("audit_oversold", [Reply::Refuse("57014")]);
        assert!(service.app.audit().await.is_err());
        assert!(service.app.audit().await.unwrap().full);
    });
}

#[test]
fn a_gauge_is_absent_until_it_is_read_and_then_tells_its_age() {
    let service = Service::new(|_| ());
    let gauges = [
        "inventory_outbox_oldest_seconds",
        "inventory_hold_expiry_oldest_seconds",
        "inventory_sweeper_last_success_timestamp_seconds",
        "inventory_collector_last_refresh_timestamp_seconds",
        "inventory_db_primary_timeline",
        "inventory_clock_drift_seconds",
    ];
    for gauge in gauges {
        assert_eq!(service.metric(gauge), None, "{gauge}");
    }
    // So are the counters of tenants and properties, which are then there before anything happens to them.
    let members = [
        format!("inventory_offline_arbitration_lost_total{{tenant=\"{TENANT}\"}}"),
        format!("inventory_manual_releases_total{{property=\"{PROPERTY}\"}}"),
    ];
    for member in &members {
        assert_eq!(service.metric(member), None, "{member}");
    }
    service.fakes.db().always(
        "collect_outbox",
        Reply::Rows(vec![vec![Value::Interval(42_500_000)]]),
    );
    service.app.start();
    service.world.run(async {
        assert_eq!(
            service.send("GET /health/ready", &[], "").await.0,
            503,
            "not before the database was reached"
        );
        service.sleep(11).await;
        assert_eq!(service.metric(gauges[0]), Some(42.5));
        assert_eq!(service.metric(gauges[1]), Some(0.0));
        assert_eq!(service.metric(gauges[2]), Some(1_795_999_990.0));
        assert_eq!(service.metric(gauges[3]), Some(1_796_000_010.0));
        assert_eq!(service.metric(gauges[5]), Some(2.0), "ahead");
        for member in members {
            assert_eq!(service.metric(&member), Some(0.0), "{member}");
        }
        service
            .fakes
            .db()
            .nodes
            .insert("a".to_owned(), Node::Silent);
        service.sleep(60).await;
        assert_eq!(
            service.metric(gauges[0]),
            Some(42.5),
            "the last value stays"
        );
        assert_eq!(
            service.metric(gauges[3]),
            Some(1_796_000_010.0),
            "and says how old it is"
        );
        let (status, _, health) = service.send("GET /health/ready", &[], "").await;
        assert_eq!(
            (status, health["status"].as_str()),
            (200, Some("warn")),
            "{health}"
        );
    });
}

#[test]
fn who_has_series_of_their_own_is_asked_once_a_minute() {
    let service = Service::new(|_| ());
    let refuse = Reply::Refuse("57014");
    service.fakes.db().next("collect_members", [refuse]);
    service.app.start();
    service.world.run(service.sleep(118));
    assert_eq!(service.count("collect_outbox"), 24);
    let asked = service.count("collect_members");
    assert_eq!(
        asked, 3,
        "again at once after a failure, then once a minute"
    );
}
