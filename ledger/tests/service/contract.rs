//! What others read: the metrics' page and table, the SQL, the configuration.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use ledger::{
    Config, Duty, Principal, Secret, SqlBook,
    contract::{
        Code, GroupOutcome, Id, Kind, METRICS, Metric, Op, Outcome, Registry, Route, Series,
        SqlState, UNMOVED, services::JOBS,
    },
    metrics::{MEMBERS_MAX, Metrics, OTHER},
    schema,
};

#[test]
fn every_metric_of_every_job_is_declared_well() {
    for (job, metrics) in JOBS {
        assert!(!metrics.is_empty(), "{job}");
        declared_well(metrics);
    }
    let listed: BTreeSet<usize> = UNMOVED.iter().map(|(id, _)| *id as usize).collect();
    assert_eq!(listed.len(), UNMOVED.len(), "one is listed twice");
    assert!(UNMOVED.iter().all(|(_, reason)| !reason.is_empty()));
}

fn declared_well(metrics: &[Metric]) {
    let mut names = BTreeSet::new();
    for metric in metrics {
        assert!(names.insert(metric.name), "{} twice", metric.name);
        assert!(
            metric.help.ends_with('.') && !metric.help.contains(['\\', '\n']),
            "{}",
            metric.name
        );
        assert_eq!(
            metric.kind == Kind::Counter,
            metric.name.ends_with("_total"),
            "{}",
            metric.name
        );
        if metric.unit == "seconds" {
            let name = metric.name.trim_end_matches("_total");
            assert!(name.ends_with("_seconds"), "{}", metric.name);
        }
        if let Kind::Histogram(bounds) = metric.kind {
            assert!(
                bounds.windows(2).all(|pair| pair[0] < pair[1]),
                "{}",
                metric.name
            );
        }
        let (some, more): (&[&str], &[&str]) = match metric.series {
            Series::One | Series::Each(_) => (&[], &[]),
            Series::Per(_, values) | Series::EachPer(_, _, values) => (values, &[]),
            Series::Pairs(_, outer, _, inner) => (outer, inner),
        };
        for values in [some, more] {
            let distinct: BTreeSet<_> = values.iter().collect();
            assert_eq!(distinct.len(), values.len(), "{}", metric.name);
        }
        let open = matches!(metric.series, Series::Each(_) | Series::EachPer(..));
        let histogram = matches!(metric.kind, Kind::Histogram(_));
        assert!(!(open && histogram), "{}: not supported", metric.name);
    }
}

#[test]
fn the_page_has_every_counter_from_the_start_and_no_gauge_that_was_not_set() {
    let metrics = Metrics::new();
    let page = metrics.render();
    for metric in METRICS {
        let lines = page
            .lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(metric.name))
            .count();
        let series = match metric.series {
            Series::One => 1,
            Series::Per(_, values) => values.len(),
            Series::Pairs(_, outer, _, inner) => outer.len() * inner.len(),
            Series::Each(_) | Series::EachPer(..) => 0,
        };
        let expected = if metric.kind == Kind::Counter {
            series
        } else {
            0
        };
        assert_eq!(lines, expected, "{}", metric.name);
    }
    assert_eq!(page, Metrics::new().render(), "always in the same order");
}

#[test]
fn values_are_written_at_their_labels() {
    let metrics = Metrics::new();
    metrics.inc_pair(
        Id::Allocations,
        Op::Cancel as usize,
        Outcome::Unknown as usize,
    );
    metrics.inc_pair(
        Id::HttpRequests,
        Route::Holds as usize,
        Code::of(422) as usize,
    );
    metrics.inc_pair(
        Id::HttpRequests,
        Route::Holds as usize,
        Code::of(418) as usize,
    );
    metrics.inc(Id::PgErrors, SqlState::of("23P01", true) as usize);
    metrics.inc(Id::PgErrors, SqlState::of("12345", false) as usize);
    metrics.inc(Id::PgErrors, SqlState::of("23514", true) as usize);
    for _ in 0..2 {
        metrics.inc(Id::PgErrors, SqlState::of("23514", false) as usize);
    }
    metrics.set(Id::OutboxOldest, 0.25);
    metrics.add(Id::OverbookingActual, u64::MAX - 1);
    // On a bound, between two, above all; each in the series of its operation.
    for value in [0.005, 0.0051, 7.0] {
        metrics.observe(Id::AllocationDuration, Op::Confirm as usize, value);
    }
    let page = metrics.render();
    let bucket = "inventory_allocation_duration_seconds_bucket{op=\"confirm\",le=";
    for line in [
        "inventory_allocations_total{op=\"cancel\",outcome=\"outcome_unknown\"} 1".to_owned(),
        "http_requests_total{route=\"/v1/holds\",code=\"422\"} 1".to_owned(),
        "http_requests_total{route=\"/v1/holds\",code=\"other\"} 1".to_owned(),
        "pg_errors_total{code=\"23P01\"} 1".to_owned(),
        "pg_errors_total{code=\"other\"} 1".to_owned(),
        "pg_errors_total{code=\"23514\"} 1".to_owned(),
        "pg_errors_total{code=\"no_partition\"} 2".to_owned(),
        "inventory_outbox_oldest_seconds 0.25".to_owned(),
        "inventory_overbooking_actual_total 18446744073709551614".to_owned(),
        format!("{bucket}\"0.005\"}} 1"),
        format!("{bucket}\"0.01\"}} 2"),
        format!("{bucket}\"5\"}} 2"),
        format!("{bucket}\"+Inf\"}} 3"),
        "inventory_allocation_duration_seconds_count{op=\"confirm\"} 3".to_owned(),
        "inventory_allocation_duration_seconds_sum{op=\"confirm\"} 7.0101".to_owned(),
        "inventory_allocation_duration_seconds_count{op=\"hold\"} 0".to_owned(),
        "inventory_allocation_duration_seconds_sum{op=\"hold\"} 0".to_owned(),
    ] {
        assert!(
            page.lines().any(|written| written == line),
            "{line}\n{page}"
        );
    }
}

#[test]
fn a_member_has_all_its_series_from_when_it_is_admitted() {
    let metrics = Metrics::new();
    let admit = |registry, members: &[&str]| {
        members
            .iter()
            .for_each(|member| metrics.admit(registry, member));
    };
    admit(Registry::Tenant, &["b", "a"]);
    admit(Registry::Property, &["p"]);
    metrics.inc_of(Id::GroupHolds, "b", GroupOutcome::PartialFail as usize);
    // Admitted by what is counted of it.
    metrics.inc_of(Id::OfflineLost, "c\"\\\n", 0);
    metrics.set_of(Id::CalendarHorizon, "p", 29.5);
    // What is known already keeps its values.
    admit(Registry::Tenant, &["a", "b"]);
    admit(Registry::Property, &["p", "q"]);
    let page = metrics.render();
    let of = |name: &str| -> Vec<&str> {
        let lines = page.lines().filter(|line| line.starts_with(name));
        lines
            .map(|line| line.strip_prefix(name).expect("filtered"))
            .collect()
    };
    assert_eq!(
        of("inventory_offline_arbitration_lost_total"),
        [
            "{tenant=\"a\"} 0",
            "{tenant=\"b\"} 0",
            "{tenant=\"c\\\"\\\\\\n\"} 1"
        ]
    );
    let partial: Vec<&str> = of("inventory_group_hold_total")
        .into_iter()
        .filter(|line| line.contains("partial_fail"))
        .collect();
    assert_eq!(
        partial[..2],
        [
            "{tenant=\"a\",outcome=\"partial_fail\"} 0",
            "{tenant=\"b\",outcome=\"partial_fail\"} 1"
        ]
    );
    assert_eq!(
        of("inventory_group_hold_total").len(),
        3 * GroupOutcome::VALUES.len()
    );
    assert_eq!(
        of("inventory_calendar_horizon_days_min"),
        ["{property=\"p\"} 29.5"]
    );
    assert_eq!(
        of("inventory_manual_releases_total"),
        ["{property=\"p\"} 0", "{property=\"q\"} 0"]
    );
    assert_eq!(of("inventory_inbox_dead_letters"), [""; 0]);
}

#[test]
fn a_registry_that_is_too_large_shares_the_series_of_the_others() {
    let metrics = Metrics::new();
    let names: Vec<String> = (0..MEMBERS_MAX + 2).map(|at| format!("{at:05}")).collect();
    names
        .iter()
        .for_each(|name| metrics.admit(Registry::Tenant, name));
    for name in &names {
        metrics.inc_of(Id::OfflinePushed, name, 0);
    }
    let page = metrics.render();
    let name = "inventory_offline_arbitration_pushed_total{";
    assert_eq!(
        page.lines().filter(|line| line.starts_with(name)).count(),
        MEMBERS_MAX + 1
    );
    let shared = format!("{name}tenant=\"{OTHER}\"}} 2");
    assert!(page.lines().any(|line| line == shared), "{shared}");
    metrics.admit(Registry::Property, "p");
    let told = metrics.render();
    assert!(told.contains("inventory_manual_releases_total{property=\"p\"} 0"));
}

#[test]
fn every_sql_file_is_a_statement_of_the_book_and_the_other_way_round() {
    let embedded = schema::embedded();
    let book = SqlBook::new(&embedded.statements).unwrap();
    assert_eq!(book.all().len(), embedded.statements.len());
    let on_disk = schema::from_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    assert_eq!(on_disk, embedded);
    assert!(embedded.migrations.len() >= 2 && embedded.migrations.is_sorted());

    let mut missing = embedded.statements.clone();
    missing.retain(|(name, _)| name != "free_rooms");
    let mut unknown = embedded.statements.clone();
    unknown.push(("free_romms".to_owned(), "SELECT 1".to_owned()));
    let mut twice = embedded.statements.clone();
    twice.push(twice[0].clone());
    for (statements, says) in [
        (missing, "free_rooms"),
        (unknown, "free_romms"),
        (twice, "add_night"),
    ] {
        let error = SqlBook::new(&statements).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_folder_that_is_no_ledger_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let says = |part: &str| {
        let error = SqlBook::from_dir(folder.path()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    says("bootstrap.sql");
    fs::write(folder.path().join("bootstrap.sql"), "").unwrap();
    says("migrations");
    fs::create_dir(folder.path().join("migrations")).unwrap();
    says("no .sql file");
    fs::write(folder.path().join("migrations/0001_a.sql"), "").unwrap();
    fs::create_dir(folder.path().join("sql")).unwrap();
    fs::write(folder.path().join("sql/add_night.sql"), "").unwrap();
    says("is missing");
}

type Spoil = fn(&mut Config);

#[test]
fn a_setting_that_cannot_work_is_named() {
    let good = || Config {
        database_endpoints: vec!["a".to_owned()],
        job_token: Secret("sixteen letters.".to_owned()),
        ..Config::default()
    };
    assert_eq!(good().validate(), Ok(()));
    assert!(
        !format!("{:?}", good()).contains("sixteen"),
        "secrets do not show"
    );
    let ada = |token: &str| Principal {
        name: "ada".to_owned(),
        duty: Duty::Sre,
        token: Secret(token.to_owned()),
    };
    let mut named = good();
    named.principals = vec![ada("ada's secret word")];
    assert_eq!(named.validate(), Ok(()));
    assert!(!format!("{named:?}").contains("secret"));
    for (what, principals) in [
        ("16 characters", vec![ada("short")]),
        (
            "twice",
            vec![ada("ada's secret word"), ada("ada's other secret")],
        ),
        ("somebody else's", vec![ada("sixteen letters.")]),
        (
            "1 to 64",
            vec![Principal {
                name: String::new(),
                ..ada("ada's secret word")
            }],
        ),
    ] {
        let error = Config {
            principals,
            ..good()
        }
        .validate()
        .unwrap_err();
        assert_eq!(error.field, "principals");
        assert!(error.reason.contains(what), "{error}");
    }
    let error = Principal::list(r#"[{"name":"ada","duty":"sre","tokn":"ada's secret word"}]"#);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("column") && !error.contains("secret"),
        "{error}"
    );
    let rows: [(&str, Spoil); 12] = [
        ("database_endpoints", |c| c.database_endpoints.clear()),
        ("database_endpoints", |c| {
            c.database_endpoints.push(" ".to_owned())
        }),
        ("job_token", |c| c.job_token = Secret("short".to_owned())),
        ("app_pool_size", |c| c.app_pool_size = 0),
        ("worker_pool_size", |c| c.worker_pool_size = 3),
        ("hold_seconds", |c| c.hold_seconds = 0),
        ("relay_batch", |c| c.relay_batch = 0),
        ("retries", |c| c.retries = 11),
        ("relay_poll", |c| c.relay_poll = Duration::ZERO),
        ("lock_timeout", |c| c.lock_timeout = c.statement_timeout),
        ("statement_timeout", |c| {
            c.statement_timeout = c.attempt_deadline
        }),
        ("audit_every", |c| c.audit_every = c.audit_window),
    ];
    for (field, spoil) in rows {
        let mut config = good();
        spoil(&mut config);
        assert_eq!(config.validate().unwrap_err().field, field);
    }
}
