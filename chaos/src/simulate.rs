//! `plan → recording`: builds the hosts, lets the plan happen, hands back what was recorded.
//!
//! Invariant: the plan and the ledger's SQL decide every byte of the recording; nothing outside of them is read.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ::ledger::{
    ports::{DbError, SessionSettings, Value},
    schema::Schema,
};

use crate::{
    hosts::{self, DATABASES, LEDGERS, World, clients::Journal, disk::Disk},
    recording::{EPOCH_UNIX_S, Event, HostState, Recording},
    scenario::{Client, Fixtures, Plan},
    simdb::{Database, DbConfig, Image, Output, Request, Source, SqlError},
    simnet::{HostConfig, HostCtx, NetConfig, NetStats, SimBuilder, SimError},
};

/// A finished simulation.
#[derive(Debug)]
pub struct Simulation {
    /// What happened.
    pub recording: Recording,
    /// What the network did.
    pub net: NetStats,
    /// Where the run's own time went, by part; zeros without a stopwatch. No part of the recording.
    pub parts: Vec<(&'static str, Duration)>,
}

/// Why there is no recording.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The ledger's SQL is outside of what the simulated database executes, or wrong: each fault with file and line.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Sql(Vec<SqlError>),
    /// The plan's fixtures could not be inserted.
    #[error("fixtures: {0}")]
    Fixtures(DbError),
    /// A host or the nemesis failed; this is a fault of the simulation or of the service, not of the network.
    #[error(transparent)]
    Net(#[from] SimError),
}

/// Compiles the ledger's SQL for the simulated database, without running anything.
///
/// # Errors
/// What is outside of its subset, or wrong, with file and line.
pub fn compile(schema: &Schema) -> Result<Arc<Image>, Vec<SqlError>> {
    let source = |file: String, text: &'_ str| (file, text.to_owned());
    let migrations: Vec<_> = schema
        .migrations
        .iter()
        .map(|(name, text)| source(format!("migrations/{name}.sql"), text))
        .collect();
    let statements: Vec<_> = schema
        .statements
        .iter()
        .map(|(name, text)| source(format!("sql/{name}.sql"), text))
        .collect();
    Image::load(
        Source {
            file: "bootstrap.sql",
            text: &schema.bootstrap,
        },
        &migrations
            .iter()
            .map(|(file, text)| Source { file, text })
            .collect::<Vec<_>>(),
        &statements
            .iter()
            .map(|(file, text)| Source { file, text })
            .collect::<Vec<_>>(),
    )
}

/// Runs `plan` against the ledger with the SQL of `schema`. The stopwatch, if given, tells the caller's own time.
///
/// # Errors
/// SQL that cannot run, or a panic inside the simulation.
pub fn simulate(
    plan: &Arc<Plan>,
    schema: &Arc<Schema>,
    stopwatch: Option<fn() -> Duration>,
) -> Result<Simulation, SimulateError> {
    let image = compile(schema).map_err(SimulateError::Sql)?;
    let mut primary = fixtures(image, &plan.fixtures).map_err(SimulateError::Fixtures)?;
    let standby = primary.base_backup();
    primary.set_synchronous(true);
    let disks = BTreeMap::from([
        (DATABASES[0], Disk::new(DATABASES[0], primary)),
        (DATABASES[1], Disk::new(DATABASES[1], standby)),
    ]);
    let world = Arc::new(World::new(plan, schema.clone(), disks));
    let mut net = NetConfig::new(plan.seed);
    net.link = hosts::link();
    net.epoch_unix_nanos = EPOCH_UNIX_S * 1_000_000_000;
    net.stopwatch = stopwatch;
    let builder = populate(SimBuilder::new(net), &world, plan);
    let (script_world, script_plan) = (world.clone(), plan.clone());
    let (net, books) = builder.run(move |sim| async move {
        script_world.attach(&sim);
        hosts::nemesis::run(script_world, script_plan).await;
        (sim.stats(), sim.books())
    })?;
    Ok(Simulation {
        recording: world.take_recorder().finish(),
        net,
        parts: by_part(&books),
    })
}

/// Hosts that do the same are one part.
fn by_part(books: &[(String, Duration)]) -> Vec<(&'static str, Duration)> {
    let mut parts = ["ledgers", "databases", "clients", "other hosts", "network"]
        .map(|part| (part, Duration::ZERO));
    for (host, time) in books {
        let part = match host.as_str() {
            host if LEDGERS.contains(&host) => 0,
            host if DATABASES.contains(&host) => 1,
            "guests" | "channel" | "desk" => 2,
            "network" => 4,
            _ => 3,
        };
        parts[part].1 += *time;
    }
    parts.to_vec()
}

fn populate(builder: SimBuilder, world: &Arc<World>, plan: &Arc<Plan>) -> SimBuilder {
    let mut hosts = Hosts {
        builder,
        world: world.clone(),
    };
    for (host, peer) in [(DATABASES[0], DATABASES[1]), (DATABASES[1], DATABASES[0])] {
        hosts.add(host, 8, move |ctx, world| {
            hosts::database::run(ctx, world, peer)
        });
    }
    for host in LEDGERS {
        hosts.add(host, 4, hosts::ledger::run);
    }
    hosts.add("cache", 1, |ctx, _| hosts::cache::run(ctx));
    hosts.add("broker", 1, hosts::broker::run);
    hosts.add("controller", 1, hosts::controller::run);
    hosts.add("scheduler", 1, hosts::scheduler::run);
    hosts.add("prometheus", 1, hosts::prometheus::run);
    hosts.add("operator", 1, hosts::operator::run);
    let journal = Arc::new(Journal::default());
    for who in [Client::Guests, Client::Channel, Client::Desk] {
        let (plan, journal) = (plan.clone(), journal.clone());
        hosts.add(who.host(), 1, move |ctx, world| {
            hosts::clients::run(ctx, world, plan.clone(), journal.clone(), who)
        });
    }
    hosts.builder
}

struct Hosts {
    builder: SimBuilder,
    world: Arc<World>,
}

impl Hosts {
    fn add<F: Future<Output = ()> + 'static>(
        &mut self,
        name: &str,
        cores: u32,
        run: impl Fn(HostCtx, Arc<World>) -> F + 'static,
    ) {
        let world = self.world.clone();
        let factory = move |ctx: HostCtx| {
            world.attach(&ctx.sim);
            if ctx.boot == 1 {
                world.record(Event::Host {
                    host: ctx.name.clone(),
                    state: HostState::Up,
                });
            }
            run(ctx, world.clone())
        };
        let builder = std::mem::replace(&mut self.builder, SimBuilder::new(NetConfig::new(0)));
        self.builder = builder.host(name, HostConfig { cores }, factory);
    }
}

/// A primary with the plan's hotels in it, inserted by the ledger's own statements.
fn fixtures(image: Arc<Image>, fixtures: &Fixtures) -> Result<Database, DbError> {
    let mut db = Database::new(image, DbConfig::default());
    let settings = SessionSettings {
        statement_timeout: Duration::ZERO,
        lock_timeout: Duration::ZERO,
    };
    let session = db.open("ledger_app", settings)?;
    let mut run = |request: Request| -> Result<(), DbError> {
        db.submit(session, request, 0, EPOCH_UNIX_S * 1_000_000);
        let mut outputs = Vec::new();
        db.drain(&mut outputs);
        for output in outputs {
            if let Output::Done { result, .. } = output {
                result?;
            }
        }
        Ok(())
    };
    let statement = |name: &str, params: Vec<Value>| Request::Run {
        statement: name.into(),
        params,
    };
    for tenant in &fixtures.tenants {
        run(Request::Begin {
            tenant: Some(tenant.id),
        })?;
        for property in &tenant.properties {
            run(statement(
                "add_property",
                vec![
                    Value::Uuid(property.id),
                    Value::Text(property.name.as_str().into()),
                ],
            ))?;
            for room_type in &property.room_types {
                let id = Value::Uuid(room_type.id);
                run(statement(
                    "add_room_type",
                    vec![
                        id.clone(),
                        Value::Uuid(property.id),
                        Value::Text(room_type.name.as_str().into()),
                    ],
                ))?;
                for room in &room_type.rooms {
                    run(statement(
                        "add_room",
                        vec![
                            Value::Uuid(room.id),
                            id.clone(),
                            Value::Text(room.number.as_str().into()),
                        ],
                    ))?;
                }
                for night in 0..i32::from(fixtures.nights) {
                    let numbers = [room_type.capacity, room_type.policy_extra]
                        .map(|rooms| Value::Int(i64::from(rooms)));
                    let [capacity, extra] = numbers;
                    run(statement(
                        "add_night",
                        vec![
                            id.clone(),
                            Value::Date(fixtures.first_night + night),
                            capacity,
                            extra,
                        ],
                    ))?;
                }
            }
        }
        run(Request::Commit)?;
    }
    db.close(session);
    Ok(db)
}
