//! The ledger service's binary: `serve`, `migrate`, `job NAME`. Reads flags and environment, builds the adapters, calls the library.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use ledger::{
    App, Config, Ports, Principal, Secret, SqlBook,
    postgres::{
        Credentials, LogBroker, MemoryCache, PgConnect, SystemClock, SystemIds, TokioSpawn,
        bootstrap, migrate, serve,
    },
    schema,
};

/// Hotel inventory: availability, holds, bookings.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the HTTP API, with relay, auditor and collector, until SIGTERM or SIGINT.
    Serve {
        /// Where to listen.
        #[arg(long, env = "LEDGER_LISTEN", default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        #[command(flatten)]
        service: Service,
    },
    /// Bring the database to this version's schema; what has run before is not run again.
    Migrate {
        /// URL of the schema's owner (role ledger_owner).
        #[arg(long, env = "LEDGER_OWNER_URL", hide_env_values = true)]
        owner_url: String,
        /// URL of the cluster's administrator: creates the ledger's roles first.
        #[arg(long, env = "LEDGER_ADMIN_URL", hide_env_values = true)]
        admin_url: Option<String>,
        /// Read migrations from a folder laid out as the ledger's own, instead of those compiled in.
        #[arg(long)]
        ledger: Option<PathBuf>,
    },
    /// Run one job once and print what it did as JSON.
    Job {
        /// Which.
        name: Job,
        #[command(flatten)]
        service: Service,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Job {
    ExpireHolds,
    RelayOutbox,
    AuditOverbooking,
}

#[derive(Clone, Copy, ValueEnum)]
enum Broker {
    /// Events as ECS JSON lines on stdout.
    Log,
}

#[derive(Clone, Copy, ValueEnum)]
enum Cache {
    /// In this process's memory.
    Memory,
}

/// What `serve` and `job` share.
#[derive(Args)]
struct Service {
    /// Database endpoints without credentials, primary and standby in any order: postgres://host:port/database
    #[arg(long, env = "LEDGER_DATABASES", value_delimiter = ',', required = true)]
    database: Vec<String>,
    /// Password of role ledger_app.
    #[arg(long, env = "LEDGER_APP_PASSWORD", hide_env_values = true)]
    app_password: Option<String>,
    /// Password of role ledger_worker.
    #[arg(long, env = "LEDGER_WORKER_PASSWORD", hide_env_values = true)]
    worker_password: Option<String>,
    /// Bearer token of /internal/jobs, at least 16 characters.
    #[arg(long, env = "LEDGER_JOB_TOKEN", hide_env_values = true)]
    job_token: String,
    /// JSON file of who may pull the levers of /internal/admin: [{"name": …, "duty": "platform_engineer" or "sre", "token": …}]
    #[arg(long, env = "LEDGER_PRINCIPALS", value_name = "FILE")]
    principals: Option<PathBuf>,
    /// Where events go.
    #[arg(long, env = "LEDGER_BROKER", value_enum)]
    broker: Broker,
    /// Where availability is cached.
    #[arg(long, env = "LEDGER_CACHE", value_enum)]
    cache: Cache,
    /// Sessions for tenants' requests.
    #[arg(long, env = "LEDGER_APP_POOL_SIZE", default_value_t = 16)]
    app_pool_size: usize,
    /// Sessions for jobs.
    #[arg(long, env = "LEDGER_WORKER_POOL_SIZE", default_value_t = 4)]
    worker_pool_size: usize,
    /// How long a hold lasts.
    #[arg(long, env = "LEDGER_HOLD_SECONDS", default_value_t = 600)]
    hold_seconds: u32,
    /// How stale a cached availability may be, in seconds.
    #[arg(long, env = "LEDGER_CACHE_TTL_SECONDS", default_value_t = 5)]
    cache_ttl_seconds: u64,
    /// lock_timeout of tenants' sessions, in milliseconds.
    #[arg(long, env = "LEDGER_LOCK_TIMEOUT_MS", default_value_t = 700)]
    lock_timeout_ms: u64,
    /// statement_timeout of tenants' sessions, in milliseconds.
    #[arg(long, env = "LEDGER_STATEMENT_TIMEOUT_MS", default_value_t = 800)]
    statement_timeout_ms: u64,
    /// Read statements from a folder laid out as the ledger's own, instead of those compiled in.
    #[arg(long)]
    ledger: Option<PathBuf>,
}

type Failure = Box<dyn std::error::Error>;

const CACHE_ENTRIES_MAX: usize = 10_000;

impl Service {
    fn app(self) -> Result<Arc<App>, Failure> {
        let book = match &self.ledger {
            Some(dir) => SqlBook::from_dir(dir)?,
            None => SqlBook::embedded()?,
        };
        PgConnect::check(&self.database)?;
        let clock = Arc::new(SystemClock::start());
        let mut credentials = Credentials::default();
        credentials.app.1 = self.app_password.map(Secret);
        credentials.worker.1 = self.worker_password.map(Secret);
        let principals = match &self.principals {
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| format!("{}: {error}", file.display()))?;
                Principal::list(&text)?
            }
            None => Vec::new(),
        };
        let config = Config {
            principals,
            database_endpoints: self.database,
            app_pool_size: self.app_pool_size,
            worker_pool_size: self.worker_pool_size,
            hold_seconds: self.hold_seconds,
            cache_ttl: Duration::from_secs(self.cache_ttl_seconds),
            lock_timeout: Duration::from_millis(self.lock_timeout_ms),
            statement_timeout: Duration::from_millis(self.statement_timeout_ms),
            job_token: Secret(self.job_token),
            ..Config::default()
        };
        let broker = match self.broker {
            Broker::Log => LogBroker::stdout(clock.clone()),
        };
        let cache = match self.cache {
            Cache::Memory => MemoryCache::new(clock.clone(), CACHE_ENTRIES_MAX),
        };
        let ports = Ports {
            connect: Arc::new(PgConnect { credentials }),
            broker: Arc::new(broker),
            cache: Arc::new(cache),
            clock,
            ids: Arc::new(SystemIds),
            spawn: Arc::new(TokioSpawn),
        };
        Ok(App::new(config, ports, book)?)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let result = runtime
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(run(cli.command)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ledger: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve { listen, service } => {
            let app = service.app()?;
            let listener = tokio::net::TcpListener::bind(listen).await?;
            eprintln!("ledger: listening on {}", listener.local_addr()?);
            Ok(serve(app, listener, told_to_stop()?).await?)
        }
        Command::Migrate {
            owner_url,
            admin_url,
            ledger,
        } => {
            let schema = match ledger {
                Some(dir) => schema::from_dir(&dir)?,
                None => schema::embedded(),
            };
            if let Some(admin_url) = admin_url {
                bootstrap(&admin_url, &schema).await?;
            }
            Ok(migrate(&owner_url, &schema).await?)
        }
        Command::Job { name, service } => {
            let app = service.app()?;
            let done = match name {
                Job::ExpireHolds => serde_json::to_string(&app.sweep().await?)?,
                Job::RelayOutbox => serde_json::to_string(&app.relay().await?)?,
                Job::AuditOverbooking => serde_json::to_string(&app.audit().await?)?,
            };
            println!("{done}");
            Ok(())
        }
    }
}

fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    Ok(async move {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
