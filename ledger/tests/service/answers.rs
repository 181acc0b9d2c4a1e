//! What the API answers: one row per request and state of the database.

use ledger::ports::Value;

use crate::fakes::{ALLOCATION, DAY, ROOM_TYPE, Reply, Service, TENANT, TOKEN, allocation};

/// `(request, headers, body) → (status, code)`.
fn check(line: &str, headers: &[(&str, &str)], body: &str, status: u16, code: &str) {
    let service = Service::new(|_| ());
    let (got, _, answer) = service.world.run(service.send(line, headers, body));
    let told = answer["error"]["code"].as_str().unwrap_or_default();
    assert_eq!(
        (got, told),
        (status, code),
        "{line} {headers:?} {body}: {answer}"
    );
    if status >= 400 {
        assert!(
            !answer["error"]["message"].as_str().unwrap().is_empty(),
            "{answer}"
        );
        assert_eq!(
            service.count("begin"),
            0,
            "{line}: refused before the database is asked"
        );
    }
}

#[test]
fn what_cannot_be_understood_is_refused_with_its_reason() {
    let tenant = ("x-tenant-id", TENANT);
    let key = ("idempotency-key", "k");
    let long = "x".repeat(129);
    let hold = "POST /v1/holds";
    let body = |change: &str, to: &str| {
        format!(r#"{{"room_type_id":"{ROOM_TYPE}","arrival":"2026-12-01","nights":1,"channel":"direct"}}"#).replace(change, to)
    };
    let search = format!("GET /v1/room-types/{ROOM_TYPE}/availability");
    for (line, headers, body, status, code) in [
        (hold, vec![key], body("", ""), 400, "bad_request"),
        (
            hold,
            vec![("x-tenant-id", "me"), key],
            body("", ""),
            400,
            "bad_request",
        ),
        (hold, vec![tenant], body("", ""), 400, "bad_request"),
        (
            hold,
            vec![tenant, ("idempotency-key", "")],
            body("", ""),
            400,
            "bad_request",
        ),
        (
            hold,
            vec![tenant, ("idempotency-key", &long)],
            body("", ""),
            400,
            "bad_request",
        ),
        (hold, vec![tenant, key], String::new(), 400, "bad_request"),
        (
            hold,
            vec![tenant, key],
            body("2026-12-01", "2026-13-01"),
            400,
            "bad_request",
        ),
        (
            hold,
            vec![tenant, key],
            body("2026-12-01", "1999-12-31"),
            400,
            "bad_request",
        ),
        (
            hold,
            vec![tenant, key],
            body(":1,", ":0,"),
            400,
            "bad_request",
        ),
        (
            hold,
            vec![tenant, key],
            body(":1,", ":31,"),
            400,
            "bad_request",
        ),
        (
            hold,
            vec![tenant, key],
            body("\"direct\"", "\"Direct mail\""),
            400,
            "bad_request",
        ),
        (
            hold,
            vec![tenant, key],
            body("\"direct\"", "\"\""),
            400,
            "bad_request",
        ),
        (
            hold,
            vec![tenant, key],
            body("\"nights\"", "\"days\""),
            400,
            "bad_request",
        ),
        (
            hold,
            vec![tenant, key],
            body("direct", &"x".repeat(20_000)),
            413,
            "body_refused",
        ),
        (
            "GET /v1/holds",
            vec![],
            String::new(),
            405,
            "method_not_allowed",
        ),
        (
            "GET /v1/nothing",
            vec![],
            String::new(),
            404,
            "no_such_route",
        ),
        (
            "POST /v1/allocations/7/confirm",
            vec![tenant],
            String::new(),
            400,
            "bad_request",
        ),
        (
            "GET /v1/allocations/7",
            vec![tenant],
            String::new(),
            400,
            "bad_request",
        ),
        (
            "GET /v1/allocations/%ff",
            vec![tenant],
            String::new(),
            400,
            "bad_request",
        ),
        (
            &format!("{search}?arrival=2026-12-01"),
            vec![tenant],
            String::new(),
            400,
            "bad_request",
        ),
        (
            &format!("{search}?arrival=2026-12-01&nights=two"),
            vec![tenant],
            String::new(),
            400,
            "bad_request",
        ),
        (
            &format!("{search}?arrival=soon&nights=2"),
            vec![tenant],
            String::new(),
            400,
            "bad_request",
        ),
        (
            &format!("{search}?arrival=2026-12-01&nights=31"),
            vec![tenant],
            String::new(),
            400,
            "bad_request",
        ),
        (
            &format!("{search}?arrival=2026-12-01&nights=2&x=1"),
            vec![tenant],
            String::new(),
            400,
            "bad_request",
        ),
        (
            "POST /internal/jobs/expire-holds",
            vec![],
            String::new(),
            401,
            "unauthorised",
        ),
        (
            "POST /internal/jobs/relay-outbox",
            vec![("authorization", TOKEN)],
            String::new(),
            401,
            "unauthorised",
        ),
        (
            "POST /internal/jobs/audit-overbooking",
            vec![("authorization", "Bearer a token of the testsX")],
            String::new(),
            401,
            "unauthorised",
        ),
        (hold, vec![tenant, key], body("", ""), 201, ""),
        ("GET /health/live", vec![], String::new(), 200, ""),
    ] {
        check(line, &headers, &body, status, code);
    }
}

/// A change of an allocation whose guard finds no row, by the state that it is in.
#[test]
fn a_change_in_the_wrong_state_says_which_one_it_is() {
    for (verb, state, status, code) in [
        ("confirm", "held", 409, "hold_expired"),
        ("confirm", "expired", 409, "hold_expired"),
        ("confirm", "released", 409, "not_held"),
        ("confirm", "cancelled", 409, "not_held"),
        ("confirm", "confirmed", 200, ""),
        ("release", "expired", 409, "hold_expired"),
        ("release", "confirmed", 409, "not_held"),
        ("release", "released", 200, ""),
        ("cancel", "held", 409, "not_confirmed"),
        ("cancel", "released", 409, "not_confirmed"),
        ("cancel", "cancelled", 200, ""),
    ] {
        let service = Service::new(|_| ());
        service
            .fakes
            .db()
            .always(&format!("{verb}_allocation"), Reply::Affected(0));
        service
            .fakes
            .db()
            .always("allocation_get", Reply::Rows(vec![allocation(state)]));
        let line = format!("POST /v1/allocations/{ALLOCATION}/{verb}");
        let (got, _, body) = service
            .world
            .run(service.send(&line, &[("x-tenant-id", TENANT)], ""));
        assert_eq!(
            (got, body["error"]["code"].as_str().unwrap_or_default()),
            (status, code),
            "{verb} {state}: {body}"
        );
        assert_eq!(
            service.count("outbox_insert"),
            0,
            "nothing happened, nothing is told"
        );
        assert_eq!(
            service.count("confirm_nights") + service.count("release_nights"),
            0
        );
    }
}

/// How a hold ends by what its `COMMIT` or its statements meet, and how many attempts it takes.
#[test]
fn a_hold_is_tried_again_only_when_nothing_can_have_happened() {
    use Reply::{Hang, Lose, Refuse};
    let locked = "MELMASTOON.INVENTORY.LOCK_TIMEOUT";
    let gone = "MELMASTOON.INVENTORY.UNAVAILABLE";
    let unknown = "MELMASTOON.INVENTORY.OUTCOME_UNKNOWN";
    let thrice = |reply: Reply| vec![reply.clone(), reply.clone(), reply];
    let ever = |reply: Reply| vec![reply; 9];
    for (call, replies, status, code, attempts) in [
        ("hold_lock_nights", vec![Refuse("55P03")], 201, "", 2),
        ("hold_lock_nights", thrice(Refuse("55P03")), 201, "", 4),
        ("hold_lock_nights", ever(Refuse("55P03")), 503, locked, 4),
        ("hold_lock_nights", ever(Refuse("57014")), 503, locked, 4),
        ("hold_reserve_nights", ever(Refuse("40P01")), 503, locked, 4),
        ("hold_reserve_nights", vec![Lose], 201, "", 2),
        ("hold_reserve_nights", vec![Refuse("57P01")], 201, "", 2),
        ("hold_reserve_nights", vec![Refuse("25006")], 201, "", 2),
        ("hold_reserve_nights", ever(Refuse("53100")), 503, gone, 4),
        (
            "hold_reserve_nights",
            vec![Refuse("23514")],
            500,
            "internal",
            1,
        ),
        ("hold_insert", vec![Refuse("42501")], 500, "internal", 1),
        (
            "hold_insert",
            vec![Reply::Rows(vec![vec![Value::Int(1)]])],
            500,
            "internal",
            1,
        ),
        ("hold_insert", vec![Hang], 201, "", 2),
        ("commit", vec![Refuse("40001")], 201, "", 2),
        ("commit", vec![Lose], 503, unknown, 1),
        ("commit", vec![Refuse("57P01")], 503, unknown, 1),
        ("commit", vec![Hang], 503, unknown, 1),
    ] {
        let service = Service::new(|_| ());
        service.fakes.db().next(call, replies.clone());
        let (got, retry_after, body) = service.world.run(service.hold("k"));
        let told = body["error"]["code"].as_str().unwrap_or_default();
        assert_eq!((got, told), (status, code), "{call} {replies:?}: {body}");
        assert!(
            service.fakes.outside().published.is_empty(),
            "only the relay publishes"
        );
        assert_eq!(retry_after.is_some(), got == 503, "{call} {replies:?}");
        assert_eq!(
            service.count("hold_claim_key"),
            attempts,
            "{call} {replies:?}"
        );
        let series = format!(
            "inventory_allocations_total{{op=\"hold\",outcome=\"{}\"}}",
            match code {
                "" => "ok",
                "internal" => "error",
                code if code == locked => "lock_timeout",
                code if code == gone => "unavailable",
                _ => "outcome_unknown",
            }
        );
        assert_eq!(service.metric(&series), Some(1.0), "{series}");
    }
}

#[test]
fn a_hold_that_failed_for_good_is_told_in_a_transaction_of_its_own() {
    for (call, reply, reason) in [
        ("hold_lock_nights", Reply::Refuse("55P03"), "lock_timeout"),
        (
            "hold_reserve_nights",
            Reply::Affected(0),
            "insufficient_availability",
        ),
    ] {
        let service = Service::new(|_| ());
        service.fakes.db().always(call, reply);
        let (status, _, body) = service.world.run(service.hold("k"));
        assert!(status == 503 || status == 409, "{body}");
        let db = service.fakes.db();
        let tail: Vec<_> = db.calls[db.calls.len() - 4..]
            .iter()
            .map(String::as_str)
            .collect();
        let begin = format!("begin {TENANT}");
        assert_eq!(
            tail,
            ["rollback", &begin, "outbox_insert", "commit"],
            "{reason}"
        );
        let (_, params) = db
            .params
            .iter()
            .rfind(|(name, _)| name == "outbox_insert")
            .unwrap();
        assert_eq!(params[1], Value::Text("allocation.failed.v1".into()));
        let Value::Text(payload) = &params[2] else {
            panic!("{params:?}")
        };
        assert!(
            payload.contains(&format!("\"reason_code\":\"{reason}\"")),
            "{payload}"
        );
        drop(db);
        let series = format!(
            "inventory_allocation_failed_total{{channel=\"walk_in\",reasonCode=\"{reason}\"}}"
        );
        assert_eq!(service.metric(&series), Some(1.0));
    }
}

#[test]
fn a_key_that_was_used_answers_with_its_allocation_or_refuses_another_request() {
    let hash = format!("{ROOM_TYPE}/{DAY}/1/walk_in");
    for (hash, status, code) in [
        (hash.as_str(), 200, ""),
        ("something else", 422, "IDEMPOTENCY_KEY_REUSED"),
    ] {
        let service = Service::new(|_| ());
        service
            .fakes
            .db()
            .always("hold_claim_key", Reply::Affected(0));
        let found = vec![Value::Text(hash.into()), Value::Uuid(ALLOCATION)];
        service
            .fakes
            .db()
            .always("hold_find_key", Reply::Rows(vec![found]));
        let (got, _, body) = service.world.run(service.hold("k"));
        assert_eq!(
            (got, body["error"]["code"].as_str().unwrap_or_default()),
            (status, code),
            "{body}"
        );
        assert_eq!(service.count("hold_reserve_nights"), 0);
        if status == 200 {
            assert_eq!(body["allocation_id"], ALLOCATION.to_string());
        }
    }
}

#[test]
fn a_room_that_somebody_took_is_replaced_by_another_one() {
    let service = Service::new(|_| ());
    service
        .fakes
        .db()
        .next("assign_room", [Reply::Refuse("23P01")]);
    let line = format!("POST /v1/allocations/{ALLOCATION}/confirm");
    let (status, _, body) = service
        .world
        .run(service.send(&line, &[("x-tenant-id", TENANT)], ""));
    assert_eq!(status, 200, "{body}");
    let db = service.fakes.db();
    let rooms: Vec<_> = db
        .params
        .iter()
        .filter(|(name, _)| name == "assign_room")
        .map(|(_, p)| &p[1])
        .collect();
    assert_eq!(rooms.len(), 2);
    assert_ne!(rooms[0], rooms[1]);
    assert_eq!(
        db.count("confirm_allocation"),
        2,
        "the whole transaction again"
    );
}

#[test]
fn a_stay_without_a_free_room_is_refused_and_the_hold_stays() {
    let service = Service::new(|_| ());
    service.fakes.db().always("free_rooms", Reply::Rows(vec![]));
    let line = format!("POST /v1/allocations/{ALLOCATION}/confirm");
    let (status, _, body) = service
        .world
        .run(service.send(&line, &[("x-tenant-id", TENANT)], ""));
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (409, Some("no_free_room"))
    );
    assert_eq!((service.count("rollback"), service.count("commit")), (1, 0));
}
