//! What must hold, one test each.

use std::{sync::Arc, time::Duration};

use ledger::{
    Config,
    ports::{BoxFuture, DbError, Role, Value},
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::api::{Answer, Hotel, Ledger, days, live};

const FIRST: &str = "2026-12-01";

/// Sends `count` requests at once.
async fn at_once<F: Future<Output = Answer> + Send + 'static>(
    count: usize,
    request: impl Fn(usize) -> F,
) -> Vec<Answer> {
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..count {
        let work: BoxFuture<'static, Answer> = Box::pin(request(at));
        tasks.spawn(work);
    }
    tasks.join_all().await
}

fn statuses(answers: &[Answer], status: u16) -> usize {
    answers
        .iter()
        .filter(|answer| answer.status == status)
        .count()
}

async fn counters_match_allocations(ledger: &Ledger) {
    let wrong = ledger
        .number(
            "SELECT count(*) FROM room_type_inventory_daily d WHERE (d.held, d.confirmed) <> (
                SELECT count(*) FILTER (WHERE status = 'held'), count(*) FILTER (WHERE status = 'confirmed')
                FROM room_allocations a
                WHERE a.room_type_id = d.room_type_id AND a.arrival <= d.night AND a.departure > d.night)",
        )
        .await;
    assert_eq!(
        wrong, 0,
        "nights whose counters differ from their allocations"
    );
}

#[test]
fn a_stay_goes_from_hold_to_confirmed_to_cancelled_and_each_step_is_told_once() {
    live(
        |_| (),
        |ledger| async move {
            let hotel = ledger.hotel(2, 5).await;
            let held = ledger.hold(&hotel, "k1", FIRST, 3).await;
            assert_eq!(
                (held.status, held.body["status"].as_str()),
                (201, Some("held")),
                "{}",
                held.body
            );
            assert!(held.body["hold_until"].is_string() && held.body["room_id"].is_null());
            assert_eq!(held.body["departure"], "2026-12-04");
            let id = held.id();
            for (verb, status, code) in [
                ("cancel", 409, "not_confirmed"),
                ("confirm", 200, ""),
                ("confirm", 200, ""),
                ("release", 409, "not_held"),
                ("cancel", 200, ""),
                ("cancel", 200, ""),
                ("confirm", 409, "not_held"),
            ] {
                let answer = ledger.change(hotel.tenant, &id, verb).await;
                assert_eq!(
                    (answer.status, answer.code()),
                    (status, code),
                    "{verb}: {}",
                    answer.body
                );
                if verb == "confirm" && status == 200 {
                    assert!(answer.body["room_id"].is_string(), "{}", answer.body);
                }
            }
            assert_eq!(ledger.left(&hotel, FIRST).await, 2);
            let other = ledger.hold(&hotel, "k2", FIRST, 1).await.id();
            let released = ledger.change(hotel.tenant, &other, "release").await;
            assert_eq!(
                (released.status, released.body["status"].as_str()),
                (200, Some("released"))
            );
            let got = ledger
                .get(hotel.tenant, &format!("/v1/allocations/{other}"))
                .await;
            assert_eq!(got.body, released.body);

            ledger.job("relay-outbox").await;
            let messages = ledger.broker.0.lock().unwrap().clone();
            let subjects: Vec<_> = messages
                .iter()
                .map(|message| {
                    (
                        message.ordering_key.to_string() == id,
                        message.subject.as_str(),
                    )
                })
                .collect();
            assert_eq!(
                subjects,
                [
                    (true, "allocation.held.v1"),
                    (true, "allocation.confirmed.v1"),
                    (true, "allocation.cancelled.v1"),
                    (false, "allocation.held.v1"),
                    (false, "allocation.released.v1"),
                ]
            );
            assert!(
                messages
                    .iter()
                    .all(|message| message.tenant == hotel.tenant)
            );
            counters_match_allocations(&ledger).await;
        },
    );
}

#[test]
fn a_hold_ends_by_the_databases_clock_and_the_sweeper_gives_its_nights_back() {
    live(
        |config| config.hold_seconds = 1,
        |ledger| async move {
            let hotel = ledger.hotel(1, 3).await;
            let id = ledger.hold(&hotel, "k", FIRST, 2).await.id();
            assert_eq!(
                ledger.hold(&hotel, "other", FIRST, 1).await.code(),
                "insufficient_availability"
            );
            tokio::time::sleep(Duration::from_millis(1100)).await;
            assert_eq!(
                ledger.change(hotel.tenant, &id, "confirm").await.code(),
                "hold_expired"
            );
            assert_eq!(
                ledger.left(&hotel, FIRST).await,
                0,
                "it counts until it is swept"
            );
            let swept = ledger.job("expire-holds").await;
            assert_eq!(swept.body["expired"], 1, "{}", swept.body);
            assert_eq!(ledger.left(&hotel, FIRST).await, 1);
            assert_eq!(ledger.job("expire-holds").await.body["expired"], 0);
            assert_eq!(
                ledger.change(hotel.tenant, &id, "confirm").await.code(),
                "hold_expired"
            );
            assert_eq!(
                ledger.metric("inventory_holds_expired_total").await,
                Some(1.0)
            );
            let sweeps = ledger
                .metric("inventory_sweeper_runs_total{outcome=\"ok\"}")
                .await;
            assert_eq!(sweeps, Some(2.0));
            counters_match_allocations(&ledger).await;
        },
    );
}

#[test]
fn a_key_makes_one_hold_however_often_and_at_once_it_is_sent() {
    live(
        |_| (),
        |ledger| async move {
            let hotel = ledger.hotel(10, 2).await;
            let shared = Arc::clone(&ledger);
            let answers = at_once(20, move |_| {
                let ledger = Arc::clone(&shared);
                async move { ledger.hold(&hotel, "same", FIRST, 2).await }
            })
            .await;
            assert_eq!((statuses(&answers, 201), statuses(&answers, 200)), (1, 19));
            assert!(answers.iter().all(|answer| answer.id() == answers[0].id()));
            assert_eq!(ledger.left(&hotel, FIRST).await, 9);
            let reused = ledger.hold(&hotel, "same", FIRST, 1).await;
            assert_eq!(
                (reused.status, reused.code()),
                (422, "IDEMPOTENCY_KEY_REUSED")
            );
            let other = ledger.hotel(1, 1).await;
            assert_eq!(
                ledger.hold(&other, "same", FIRST, 1).await.status,
                201,
                "keys belong to a tenant"
            );
            counters_match_allocations(&ledger).await;
        },
    );
}

#[test]
fn a_tenant_sees_and_changes_nothing_of_another() {
    live(
        |_| (),
        |ledger| async move {
            let (ours, theirs) = (ledger.hotel(1, 1).await, ledger.hotel(1, 1).await);
            let id = ledger.hold(&theirs, "k", FIRST, 1).await.id();
            for verb in ["confirm", "release", "cancel"] {
                let answer = ledger.change(ours.tenant, &id, verb).await;
                assert_eq!(
                    (answer.status, answer.code()),
                    (404, "allocation_not_found"),
                    "{verb}"
                );
            }
            assert_eq!(
                ledger
                    .get(ours.tenant, &format!("/v1/allocations/{id}"))
                    .await
                    .status,
                404
            );
            let path = format!(
                "/v1/room-types/{}/availability?arrival={FIRST}&nights=1",
                theirs.room_type
            );
            assert_eq!(ledger.get(ours.tenant, &path).await.code(), "no_inventory");
            let crossed = Hotel {
                tenant: ours.tenant,
                ..theirs
            };
            assert_eq!(
                ledger.hold(&crossed, "k", FIRST, 1).await.code(),
                "no_inventory"
            );
            assert_eq!(
                ledger.change(theirs.tenant, &id, "confirm").await.status,
                200
            );
        },
    );
}

/// Waits for as long as a machine with much else to do may take: what is asked is who wins, not how soon.
fn patient(config: &mut Config) {
    let s = Duration::from_secs;
    config.acquire_timeout = s(30);
    config.lock_timeout = s(20);
    config.statement_timeout = s(25);
    config.attempt_deadline = s(30);
    config.request_deadline = s(60);
}

#[test]
fn fifty_at_once_never_oversell_the_last_rooms() {
    live(patient, |ledger| async move {
        let hotel = ledger.hotel(3, 4).await;
        let shared = Arc::clone(&ledger);
        let answers = at_once(50, move |at| {
            let ledger = Arc::clone(&shared);
            // Stays of different lengths that all share the second night.
            let (arrival, nights) = if at % 2 == 0 {
                (FIRST, 2)
            } else {
                ("2026-12-02", 3)
            };
            async move {
                ledger
                    .hold(&hotel, &format!("k{at}"), arrival, nights)
                    .await
            }
        })
        .await;
        let held: Vec<_> = answers
            .iter()
            .filter(|answer| answer.status == 201)
            .map(Answer::id)
            .collect();
        assert_eq!(
            held.len(),
            3,
            "{:?}",
            answers
                .iter()
                .map(|a| a.body.to_string())
                .collect::<Vec<_>>()
        );
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            assert_eq!(
                (answer.status, answer.code()),
                (409, "insufficient_availability"),
                "{}",
                answer.body
            );
            assert_eq!(
                answer.body["error"]["available"], 0,
                "what was seen explains the refusal"
            );
        }
        let shared = Arc::clone(&ledger);
        let confirmed = at_once(3, move |at| {
            let (ledger, id) = (Arc::clone(&shared), held[at].clone());
            async move { ledger.change(hotel.tenant, &id, "confirm").await }
        })
        .await;
        assert_eq!(statuses(&confirmed, 200), 3);
        let mut rooms: Vec<_> = confirmed
            .iter()
            .map(|answer| answer.body["room_id"].to_string())
            .collect();
        rooms.sort();
        rooms.dedup();
        assert_eq!(rooms.len(), 3, "each has a room of its own");
        assert_eq!(ledger.job("audit-overbooking").await.body["oversold"], 0);
        assert_eq!(
            ledger
                .number("SELECT count(*) FROM outbox WHERE event_type = 'allocation.failed.v1'")
                .await,
            47
        );
        counters_match_allocations(&ledger).await;
    });
}

#[test]
fn a_refusal_tells_what_was_there_before_it() {
    live(
        |_| (),
        |ledger| async move {
            let hotel = ledger.hotel(2, 3).await;
            for key in ["a", "b"] {
                assert_eq!(ledger.hold(&hotel, key, "2026-12-02", 1).await.status, 201);
            }
            let refused = ledger.hold(&hotel, "c", FIRST, 3).await;
            assert_eq!(refused.code(), "insufficient_availability");
            let seen: Vec<_> = refused.body["error"]["nights"]
                .as_array()
                .unwrap()
                .iter()
                .map(|n| n["available"].clone())
                .collect();
            assert_eq!(seen, [2, 0, 2]);
            let beyond = ledger.hold(&hotel, "d", "2026-12-03", 2).await;
            assert_eq!(
                (beyond.code(), &beyond.body["error"]["available"]),
                ("insufficient_availability", &0.into())
            );
            counters_match_allocations(&ledger).await;
        },
    );
}

#[test]
fn a_confirmed_hold_is_never_expired() {
    live(
        |config| config.hold_seconds = 1,
        |ledger| async move {
            let hotel = ledger.hotel(30, 2).await;
            let mut ids = Vec::new();
            for at in 0..30 {
                ids.push(ledger.hold(&hotel, &format!("k{at}"), FIRST, 2).await.id());
            }
            let shared = Arc::clone(&ledger);
            let answers = at_once(90, move |at| {
                let (ledger, id) = (Arc::clone(&shared), ids[at % 30].clone());
                async move {
                    tokio::time::sleep(Duration::from_millis(700 + 10 * (at as u64 % 30))).await;
                    match at / 30 {
                        0 => ledger.change(hotel.tenant, &id, "confirm").await,
                        _ => ledger.job("expire-holds").await,
                    }
                }
            })
            .await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert_eq!(ledger.job("expire-holds").await.status, 200);
            let of = |status: &str| {
                format!("SELECT count(*) FROM room_allocations WHERE status = '{status}'")
            };
            let (confirmed, expired) = (
                ledger.number(&of("confirmed")).await,
                ledger.number(&of("expired")).await,
            );
            assert_eq!(confirmed + expired, 30);
            let told = answers
                .iter()
                .filter(|answer| answer.body["status"] == "confirmed")
                .count();
            assert_eq!(
                told as i64, confirmed,
                "whoever was told of a booking has it"
            );
            counters_match_allocations(&ledger).await;
        },
    );
}

#[test]
fn rows_in_use_for_too_long_are_told_as_a_lock_timeout_after_retries() {
    let quick = |config: &mut ledger::Config| {
        config.lock_timeout = Duration::from_millis(100);
        config.retry_backoff = Duration::from_millis(5);
    };
    live(quick, |ledger| async move {
        let hotel = ledger.hotel(2, 1).await;
        let day = Value::Date(crate::api::days(FIRST));
        let next = Value::Date(crate::api::days(FIRST) + 1);
        let mut blocker = ledger.session(Role::App).await;
        blocker.begin(Some(hotel.tenant)).await.unwrap();
        let stay = [Value::Uuid(hotel.room_type), day, next];
        blocker
            .run(&ledger.book.hold_lock_nights, &stay)
            .await
            .unwrap();
        let refused = ledger.hold(&hotel, "k", FIRST, 1).await;
        assert_eq!(
            (refused.status, refused.code()),
            (503, "MELMASTOON.INVENTORY.LOCK_TIMEOUT"),
            "{}",
            refused.body
        );
        assert_eq!(refused.retry_after.as_deref(), Some("1"));
        let timeouts = "inventory_allocation_lock_acquisitions_total{outcome=\"timeout\"}";
        assert_eq!(
            ledger.metric(timeouts).await,
            Some(4.0),
            "one attempt and three retries"
        );
        let failed = "SELECT count(*) FROM outbox WHERE event_type = 'allocation.failed.v1' AND payload LIKE '%lock_timeout%'";
        assert_eq!(ledger.number(failed).await, 1);
        blocker.rollback().await.unwrap();
        assert_eq!(
            ledger.hold(&hotel, "k", FIRST, 1).await.status,
            201,
            "the key was not used up"
        );
    });
}

#[test]
fn the_auditor_sees_what_was_written_past_the_service() {
    live(
        |_| (),
        |ledger| async move {
            let hotel = ledger.hotel(1, 2).await;
            assert_eq!(ledger.hold(&hotel, "k", FIRST, 1).await.status, 201);
            let count = "inventory_overbooking_actual_total";
            let before = ledger.job("audit-overbooking").await;
            assert_eq!(
                (
                    before.body["leader"].as_bool(),
                    before.body["oversold"].as_i64()
                ),
                (Some(true), Some(0))
            );
            assert_eq!(ledger.metric(count).await, Some(0.0));
            let surplus = format!(
            "INSERT INTO room_allocations (allocation_id, tenant_id, room_type_id, arrival, departure, channel, hold_until)
             VALUES (gen_random_uuid(), '{}', '{}', '2026-12-01', '2026-12-03', 'raw', now() + interval '1 hour')",
            hotel.tenant, hotel.room_type
        );
            ledger.admin(&surplus).await;
            assert_eq!(ledger.job("audit-overbooking").await.body["oversold"], 1);
            ledger
                .admin("UPDATE room_allocations SET changed_at = now() - interval '1 day'")
                .await;
            let known = ledger.job("audit-overbooking").await;
            assert_eq!(
                known.body["oversold"], 1,
                "a known one is counted at each pass"
            );
            assert!(ledger.metric(count).await >= Some(2.0));
            ledger
                .admin("DELETE FROM room_allocations WHERE channel = 'raw'")
                .await;
            assert_eq!(ledger.job("audit-overbooking").await.body["oversold"], 0);
        },
    );
}

#[test]
fn a_missing_partition_is_told_from_a_violated_check() {
    live(
        |_| (),
        |ledger| async move {
            let hotel = ledger.hotel(1, 1).await;
            ledger
                .admin("ALTER TABLE room_type_inventory_daily DETACH PARTITION room_type_inventory_daily_default")
                .await;
            let refused = async |date: &str, capacity| {
                let mut session = ledger.session(Role::App).await;
                session.begin(Some(hotel.tenant)).await.unwrap();
                let night = [
                    Value::Uuid(hotel.room_type),
                    Value::Date(days(date)),
                    Value::Int(capacity),
                    Value::Int(0),
                ];
                match session.run(&ledger.book.add_night, &night).await {
                    Err(DbError::Server {
                        sqlstate,
                        constraint,
                        ..
                    }) => (sqlstate, constraint),
                    other => panic!("{other:?}"),
                }
            };
            let check = "room_type_inventory_daily_counts".to_owned();
            assert_eq!(
                refused("2026-12-02", -1).await,
                ("23514".to_owned(), Some(check))
            );
            assert_eq!(refused("2040-01-01", 1).await, ("23514".to_owned(), None));
        },
    );
}

#[test]
fn sessions_that_the_server_ends_are_replaced_within_the_request() {
    live(
        |_| (),
        |ledger| async move {
            let hotel = ledger.hotel(5, 1).await;
            assert_eq!(ledger.hold(&hotel, "a", FIRST, 1).await.status, 201);
            for key in ["b", "c"] {
                let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE usename LIKE 'ledger_%' AND datname = current_database()";
                ledger.admin(end).await;
                let held = ledger.hold(&hotel, key, FIRST, 1).await;
                assert_eq!(held.status, 201, "{}", held.body);
            }
            assert_eq!(ledger.left(&hotel, FIRST).await, 2);
        },
    );
}

#[test]
fn availability_says_when_it_comes_from_the_cache() {
    live(
        |_| (),
        |ledger| async move {
            let hotel = ledger.hotel(2, 2).await;
            let path = format!(
                "/v1/room-types/{}/availability?arrival={FIRST}&nights=2",
                hotel.room_type
            );
            let first = ledger.get(hotel.tenant, &path).await;
            assert_eq!(
                (first.status, first.body["cached"].as_bool()),
                (200, Some(false)),
                "{}",
                first.body
            );
            assert_eq!(first.body["nights"][1]["night"], "2026-12-02");
            assert_eq!(first.body["nights"][1]["available"], 2);
            assert_eq!(ledger.hold(&hotel, "k", FIRST, 2).await.status, 201);
            let second = ledger.get(hotel.tenant, &path).await;
            assert_eq!(second.body["cached"], true);
            assert_eq!(
                second.body["nights"], first.body["nights"],
                "stale by its time to live, and says so"
            );
            assert_eq!(
                ledger
                    .metric("inventory_cache_calls_total{outcome=\"hit\"}")
                    .await,
                Some(1.0)
            );
        },
    );
}

#[test]
fn gauges_of_the_database_appear_once_they_are_read_and_health_follows() {
    live(
        |_| (),
        |ledger| async move {
            for _ in 0..100 {
                if ledger.app.is_ready() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let health = ledger.send("GET", "/health/ready", &[], None).await;
            assert_eq!(
                (health.status, health.body["status"].as_str()),
                (200, Some("pass")),
                "{}",
                health.body
            );
            assert_eq!(
                ledger.metric("inventory_outbox_oldest_seconds").await,
                Some(0.0)
            );
            assert_eq!(
                ledger.metric("inventory_db_primary_timeline").await,
                Some(1.0)
            );
            // Both are of one machine.
            let drift = ledger.metric("inventory_clock_drift_seconds").await;
            assert!(drift.is_some_and(|drift| drift.abs() < 0.5), "{drift:?}");
            assert!(
                ledger
                    .metric("inventory_sweeper_last_success_timestamp_seconds")
                    .await
                    > Some(1.7e9)
            );
            let refused = ledger
                .send(
                    "POST",
                    "/internal/jobs/expire-holds",
                    &[("authorization", "Bearer wrong")],
                    None,
                )
                .await;
            assert_eq!((refused.status, refused.code()), (401, "unauthorised"));
            ledger.app.begin_shutdown();
            assert_eq!(
                ledger.send("GET", "/health/ready", &[], None).await.status,
                503
            );
            assert_eq!(
                ledger.send("GET", "/health/live", &[], None).await.status,
                200
            );
        },
    );
}

#[test]
fn the_binary_migrates_runs_jobs_and_names_what_is_wrong() {
    let Some(server) = crate::server::server() else {
        return;
    };
    let database = server.name();
    let create = format!("CREATE DATABASE {database}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut admin = PgConnection::connect(&server.admin_url("postgres"))
            .await
            .unwrap();
        admin.execute(AssertSqlSafe(create)).await.unwrap();
    });
    let url = server.admin_url(&database);
    // Whoever administrates the cluster may also own the schema.
    let migrate = ["migrate", "--owner-url", &url, "--admin-url", &url];
    let plain = server.url("", &database);
    let job_on = |database: &str, token: &str| {
        let flags = [
            "--database",
            database,
            "--broker",
            "log",
            "--cache",
            "memory",
        ];
        [&["job", "expire-holds", "--job-token", token], &flags[..]]
            .concat()
            .iter()
            .map(|flag| flag.to_string())
            .collect::<Vec<_>>()
    };
    let job = |token: &str| job_on(&plain, token);
    let token = "a token of the tests";
    let principals = |file: &str| [job(token), vec!["--principals".into(), file.into()]].concat();
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("principals.json").display().to_string();
    std::fs::write(&bad, r#"[{"name": "ada", "token": "the token of ada"}]"#).unwrap();
    for (args, ok, says) in [
        (migrate.map(str::to_owned).to_vec(), true, ""),
        (migrate.map(str::to_owned).to_vec(), true, ""),
        (
            job(token),
            true,
            r#"{"expired":0,"skipped":0,"postponed":0}"#,
        ),
        (job("short"), false, "job_token"),
        (
            job_on("postgres://eve:secret@localhost/hotel", token),
            false,
            "endpoint 1 holds a user or a password",
        ),
        (
            job_on("localhost/hotel", token),
            false,
            "want postgres://host:port/database",
        ),
        (principals(&bad), false, "principals: line 1 column"),
        (principals("/none.json"), false, "/none.json"),
        (
            vec!["job".to_owned(), "nothing".to_owned()],
            false,
            "expire-holds",
        ),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_ledger"))
            .args(&args)
            .output()
            .unwrap();
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8_lossy(&told);
        assert_eq!(output.status.success(), ok, "{args:?}: {told}");
        assert!(told.contains(says), "{args:?}: {told}");
        assert!(
            !told.contains("secret") && !told.contains("the token of"),
            "{told}"
        );
    }
    runtime.block_on(server.drop_database(&database));
}

#[test]
fn a_candidate_that_was_confirmed_since_it_was_read_is_left_alone() {
    live(
        |config| config.hold_seconds = 1,
        |ledger| async move {
            let hotel = ledger.hotel(1, 1).await;
            let id = ledger.hold(&hotel, "k", FIRST, 1).await.id();
            let id = [Value::Uuid(id.parse().unwrap())];
            let book = &ledger.book;
            let mut confirming = ledger.session(Role::App).await;
            let mut sweeping = ledger.session(Role::App).await;
            // The confirmation begins in time and is still under way when the hold ends.
            confirming.begin(Some(hotel.tenant)).await.unwrap();
            let guarded = confirming.run(&book.confirm_allocation, &id).await.unwrap();
            assert_eq!(guarded.affected, 1);
            tokio::time::sleep(Duration::from_millis(1100)).await;
            let mut worker = ledger.session(Role::Worker).await;
            let candidates = worker
                .run(&book.sweep_candidates, &[Value::Int(10)])
                .await
                .unwrap();
            assert_eq!(
                candidates.rows[0][1], id[0],
                "others see it as an ended hold"
            );
            sweeping.begin(Some(hotel.tenant)).await.unwrap();
            assert_eq!(
                sweeping
                    .run(&book.sweep_lock, &id)
                    .await
                    .unwrap()
                    .rows
                    .len(),
                0,
                "somebody holds it"
            );
            confirming.commit().await.unwrap();
            assert_eq!(
                sweeping
                    .run(&book.sweep_lock, &id)
                    .await
                    .unwrap()
                    .rows
                    .len(),
                1
            );
            let expired = sweeping.run(&book.expire_allocation, &id).await.unwrap();
            assert_eq!(
                expired.affected, 0,
                "the state guard re-checks what the lock gave"
            );
        },
    );
}
