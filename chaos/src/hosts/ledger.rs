//! A ledger host: the service itself, unchanged, over simulated ports.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ::ledger::{
    App, Config, Ports, Secret, SqlBook,
    ports::{BoxFuture, Clock, Ids, Spawn},
};
use axum::{
    extract::Request,
    middleware::{self, Next},
};
use jiff::Timestamp;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use super::{
    DATABASES, LEDGER_PORT, World, broker::SimBroker, cache::SimCache, database::SESSION_PORT,
    database_client::SimConnect, lock,
};
use crate::simnet::{HostClock, HostCtx, TcpListener, http, random};

/// The token that the scheduler shows at the job endpoints.
pub const JOB_TOKEN: &str = "simulated-job-token";

/// What a request costs the host's cores, beside the waiting that it does.
const REQUEST_COST: Duration = Duration::from_micros(150);

/// The host: runs the deployed release until it is stopped.
pub async fn run(ctx: HostCtx, world: Arc<World>) {
    let host: Arc<str> = ctx.name.clone();
    let config = Config {
        database_endpoints: DATABASES
            .iter()
            .map(|host| format!("{host}:{SESSION_PORT}"))
            .collect(),
        hold_seconds: world.hold.as_secs() as u32,
        job_token: Secret(JOB_TOKEN.to_owned()),
        ..Config::default()
    };
    let label = format!("ids/{host}/{}", ctx.boot);
    let ports = Ports {
        connect: Arc::new(SimConnect::new(world.clone(), host.clone())),
        broker: Arc::new(SimBroker::default()),
        cache: Arc::new(SimCache::new(world.clone(), host)),
        clock: Arc::new(SimClock(ctx.clock.clone())),
        ids: Arc::new(SimIds(Mutex::new(random::stream(world.seed, &label)))),
        spawn: Arc::new(SimSpawn(ctx.clone())),
    };
    let Ok(listener) = TcpListener::bind(format!("0.0.0.0:{LEDGER_PORT}")).await else {
        return;
    };
    let app = match SqlBook::new(&world.statements()) {
        Ok(book) => App::new(config, ports, book).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let app = app.unwrap_or_else(|error| panic!("{} cannot start: {error}", ctx.name));
    app.start();
    let cpu = ctx.cpu.clone();
    let router = app
        .router()
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            let cpu = cpu.clone();
            async move {
                cpu.work(REQUEST_COST).await;
                next.run(request).await
            }
        }));
    let stopping = ctx.clone();
    ctx.spawn(async move {
        stopping.stop.wait().await;
        app.begin_shutdown();
    });
    http::serve(&ctx, listener, router).await;
}

struct SimClock(HostClock);

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanosecond(i128::from(self.0.unix_nanos())).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let clock = self.0.clone();
        Box::pin(async move { clock.sleep(duration).await })
    }
}

struct SimIds(Mutex<ChaCha8Rng>);

impl Ids for SimIds {
    fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        lock(&self.0).fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    fn bits(&self) -> u64 {
        lock(&self.0).next_u64()
    }
}

struct SimSpawn(HostCtx);

impl Spawn for SimSpawn {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn(task);
    }
}
