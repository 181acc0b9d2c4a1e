//! What the service does when database or cache go away, come back, or move.

use std::time::Duration;

use ledger::ports::Value;

use crate::fakes::{DAY, Node, ROOM_TYPE, Reply, Service, TENANT};

const SEARCH: &str = "availability?arrival=2026-12-01&nights=1";

async fn search(service: &Service) -> (u16, serde_json::Value) {
    let line = format!("GET /v1/room-types/{ROOM_TYPE}/{SEARCH}");
    let (status, _, body) = service.send(&line, &[("x-tenant-id", TENANT)], "").await;
    (status, body)
}

#[test]
fn the_endpoint_on_the_highest_timeline_that_is_no_standby_is_the_primary() {
    use Node::{Down, Primary, Silent, Standby};
    for (a, b, used) in [
        (Primary(1), Standby(1), Some("a")),
        (Standby(1), Primary(1), Some("b")),
        (Primary(1), Primary(2), Some("b")),
        (Primary(3), Primary(2), Some("a")),
        (Down, Primary(2), Some("b")),
        (Silent, Primary(2), Some("b")),
        (Standby(1), Down, None),
        (Down, Down, None),
        (Silent, Silent, None),
    ] {
        let service = Service::new(|config| config.database_endpoints.push("b".to_owned()));
        service
            .fakes
            .db()
            .nodes
            .extend([("a".to_owned(), a), ("b".to_owned(), b)]);
        let (status, _, body) = service.world.run(service.hold("k"));
        assert_eq!(status == 201, used.is_some(), "{a:?} {b:?}: {body}");
        if used.is_some() {
            let timeline = service.metric("inventory_db_primary_timeline");
            let Some(Primary(expected)) = used.map(|used| if used == "a" { a } else { b }) else {
                panic!()
            };
            assert_eq!(timeline, Some(expected as f64), "{a:?} {b:?}");
        } else {
            assert_eq!(body["error"]["code"], "MELMASTOON.INVENTORY.UNAVAILABLE");
            assert_eq!(
                service.metric("inventory_db_primary_timeline"),
                None,
                "never seen is not 0"
            );
            assert!(service.metric("db_connection_attempts_total{status=\"failed\"}") > Some(0.0));
        }
    }
}

#[test]
fn after_a_failover_the_new_primary_is_found_by_the_request_that_meets_it() {
    for (a, meets) in [
        (Node::Down, 201),
        (Node::Standby(1), 201),
        (Node::Silent, 201),
    ] {
        let service = Service::new(|config| config.database_endpoints.push("b".to_owned()));
        service.world.run(async {
            assert_eq!(service.hold("k1").await.0, 201);
            service
                .fakes
                .db()
                .nodes
                .extend([("a".to_owned(), a), ("b".to_owned(), Node::Primary(2))]);
            if a == Node::Standby(1) {
                service
                    .fakes
                    .db()
                    .next("hold_claim_key", [Reply::Refuse("25006")]);
            }
            let (status, _, body) = service.hold("k2").await;
            assert_eq!(status, meets, "{a:?}: {body}");
        });
        assert_eq!(
            service.metric("inventory_db_primary_timeline"),
            Some(2.0),
            "{a:?}"
        );
    }
}

#[test]
fn an_outage_is_not_answered_with_a_storm_of_connections() {
    let service = Service::new(|_| ());
    service.app.start();
    service.fakes.db().nodes.insert("a".to_owned(), Node::Down);
    service.world.run(async {
        for at in 0..600 {
            let (status, retry_after, _) = service.hold(&format!("k{at}")).await;
            assert_eq!((status, retry_after.as_deref()), (503, Some("1")));
            ledger::ports::Clock::sleep(&service.clock, Duration::from_millis(100)).await;
        }
        let attempts = service.count("connect");
        let seconds = ledger::ports::Clock::monotonic(&service.clock).as_secs() as usize;
        assert!(seconds > 60 && attempts > 10);
        assert!(
            attempts < seconds + 20,
            "{attempts} connections tried in {seconds} s of outage"
        );
        service
            .fakes
            .db()
            .nodes
            .insert("a".to_owned(), Node::Primary(1));
        service.sleep(3).await;
        assert_eq!(
            service.hold("again").await.0,
            201,
            "and it ends with the outage"
        );
    });
}

#[test]
fn sessions_are_reused_and_never_more_than_the_pool_has() {
    let service = Service::new(|config| config.app_pool_size = 1);
    service.world.run(async {
        for at in 0..5 {
            assert_eq!(service.hold(&format!("k{at}")).await.0, 201);
        }
        assert_eq!(service.count("connect"), 1);
        service.sleep(301).await;
        assert_eq!(service.hold("late").await.0, 201);
        assert_eq!(
            service.count("connect"),
            2,
            "an old idle session is not trusted"
        );
        // While one request hangs with the only session, another waits, and is refused in time.
        service.fakes.db().next("hold_insert", [Reply::Hang]);
        let (first, second) = tokio::join!(service.hold("hangs"), service.hold("waits"));
        assert_eq!(first.0, 201, "its next attempt works");
        assert_eq!(second.0, 503, "{}", second.2);
        assert_eq!(
            second.2["error"]["code"],
            "MELMASTOON.INVENTORY.UNAVAILABLE"
        );
    });
    assert_eq!(
        service.metric("db_connections_used{pool=\"app\"}"),
        Some(0.0)
    );
    assert_eq!(service.metric("db_pool_size{pool=\"app\"}"), Some(1.0));
}

#[test]
fn a_session_dropped_in_a_transaction_is_not_used_again() {
    let service = Service::new(|_| ());
    service.world.run(async {
        assert_eq!(service.hold("k1").await.0, 201);
        service
            .fakes
            .db()
            .next("hold_reserve_nights", [Reply::Refuse("23514")]);
        service
            .fakes
            .db()
            .next("rollback", [Reply::Refuse("XX000")]);
        assert_eq!(service.hold("k2").await.0, 500);
        assert_eq!(service.count("close"), 1, "it could not roll back");
        assert_eq!(service.hold("k3").await.0, 201);
        assert_eq!(service.count("connect"), 2);
    });
}

#[test]
fn a_broken_cache_costs_little_and_changes_no_answer() {
    for broken in [Reply::Lose, Reply::Hang] {
        let service = Service::new(|_| ());
        service.world.run(async {
            assert_eq!(search(&service).await.1["cached"], false);
            assert_eq!(search(&service).await.1["cached"], true);
            service.fakes.outside().cache_broken = Some(broken.clone());
            for _ in 0..20 {
                let (status, body) = search(&service).await;
                assert_eq!(
                    (status, body["cached"].as_bool()),
                    (200, Some(false)),
                    "{body}"
                );
            }
            assert_eq!(
                service.fakes.outside().cache_calls,
                2 + 5,
                "then the breaker is open"
            );
            assert_eq!(service.metric("inventory_cache_breaker_open"), Some(1.0));
            assert_eq!(
                service.metric("inventory_cache_calls_total{outcome=\"short_circuited\"}"),
                Some(15.0)
            );
            service.sleep(6).await;
            search(&service).await;
            search(&service).await;
            assert_eq!(
                service.fakes.outside().cache_calls,
                2 + 5 + 1,
                "one call tries, and it opens again"
            );
            service.fakes.outside().cache_broken = None;
            service.sleep(6).await;
            assert_eq!(search(&service).await.1["cached"], true);
            assert_eq!(service.metric("inventory_cache_breaker_open"), Some(0.0));
        });
    }
}

#[test]
fn nights_that_are_not_in_the_calendar_are_not_there() {
    let service = Service::new(|_| ());
    service
        .fakes
        .db()
        .always("availability", Reply::Rows(vec![]));
    service
        .fakes
        .db()
        .always("hold_lock_nights", Reply::Rows(vec![]));
    service.world.run(async {
        assert_eq!(search(&service).await.0, 404);
        let (status, _, body) = service.hold("k").await;
        assert_eq!(
            (status, body["error"]["code"].as_str()),
            (404, Some("no_inventory"))
        );
        assert_eq!(service.count("hold_insert"), 0);
    });
}

#[test]
fn availability_shows_each_night_as_the_database_has_it() {
    let service = Service::new(|_| ());
    let night = |day, left, closed| vec![Value::Date(day), Value::Int(left), Value::Bool(closed)];
    service.fakes.db().always(
        "availability",
        Reply::Rows(vec![night(DAY, -1, false), night(DAY + 1, 4, true)]),
    );
    let (_, body) = service.world.run(search(&service));
    assert_eq!(
        body,
        serde_json::json!({ "nights": [
            { "night": "2026-12-01", "available": -1, "stop_sell": false },
            { "night": "2026-12-02", "available": 4, "stop_sell": true },
        ], "cached": false })
    );
}
