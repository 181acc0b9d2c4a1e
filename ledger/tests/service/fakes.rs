//! A scripted database, broker and cache, and an instance of the service on them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use http::Request;
use http_body_util::BodyExt;
use ledger::{
    App, Config, Ports, Secret, SqlBook,
    ports::{
        BoxFuture, Broker, BrokerError, Cache, CacheError, Clock, Connect, DbError, Ids, Message,
        Role, Rows, Session, SessionSettings, Statement, Value,
    },
};
use serde_json::Value as Json;
use tower::ServiceExt;
use uuid::Uuid;

use crate::run::{Handle, World};

pub const TOKEN: &str = "a token of the tests";
pub const TENANT: &str = "00000000-0000-0000-0000-00000000000a";
pub const ROOM_TYPE: Uuid = Uuid::from_u128(0xb);
pub const PROPERTY: Uuid = Uuid::from_u128(0xf);
/// Where the database's clock stands still: eight seconds after an instance's starts.
const DATABASE_US: i64 = 1_796_000_008_000_000;
pub const ALLOCATION: Uuid = Uuid::from_u128(0xc);
pub const ROOM: Uuid = Uuid::from_u128(0xd);
/// 2026-12-01 as days since 1970-01-01.
pub const DAY: i32 = 20_788;

/// What a call of the database does.
#[derive(Clone, Debug)]
pub enum Reply {
    Rows(Vec<Vec<Value>>),
    Affected(u64),
    /// Refuses with this SQLSTATE.
    Refuse(&'static str),
    /// The connection breaks.
    Lose,
    /// Never answers.
    Hang,
}

/// What an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Node {
    Primary(i64),
    Standby(i64),
    Down,
    Silent,
}

#[derive(Default)]
pub struct Db {
    script: BTreeMap<String, VecDeque<Reply>>,
    usual: BTreeMap<String, Reply>,
    pub nodes: BTreeMap<String, Node>,
    /// `begin <tenant>`, `commit`, `rollback`, names of statements, `connect <endpoint>`, `close`.
    pub calls: Vec<String>,
    /// Parameters of statements, by name.
    pub params: Vec<(String, Vec<Value>)>,
}

impl Db {
    /// The next calls of `name` do this, in order; then the usual again.
    pub fn next(&mut self, name: &str, replies: impl IntoIterator<Item = Reply>) {
        self.script
            .entry(name.to_owned())
            .or_default()
            .extend(replies);
    }

    /// Every call of `name` does this, from now on.
    pub fn always(&mut self, name: &str, reply: Reply) {
        self.usual.insert(name.to_owned(), reply);
    }

    pub fn count(&self, call: &str) -> usize {
        self.calls
            .iter()
            .filter(|made| made.starts_with(call))
            .count()
    }

    fn reply(&mut self, name: &str) -> Option<Reply> {
        let scripted = self.script.get_mut(name).and_then(VecDeque::pop_front);
        scripted.or_else(|| self.usual.get(name).cloned())
    }
}

#[derive(Default)]
pub struct Outside {
    pub published: Vec<Message>,
    pub broker_fails: u32,
    pub cache: BTreeMap<String, Vec<u8>>,
    pub cache_calls: u32,
    pub cache_broken: Option<Reply>,
    pub publications: u32,
}

#[derive(Clone, Default)]
pub struct Fakes {
    db: Arc<Mutex<Db>>,
    outside: Arc<Mutex<Outside>>,
}

struct FakeSession {
    fakes: Fakes,
    node: String,
    open: bool,
}

impl FakeSession {
    async fn call(&mut self, name: &str) -> Result<Rows, DbError> {
        let reply = {
            let mut db = self.fakes.db();
            db.calls.push(name.to_owned());
            let node = db.nodes[&self.node];
            match (name, node) {
                (_, Node::Down) => Some(Reply::Lose),
                (_, Node::Silent) => Some(Reply::Hang),
                ("server_state", Node::Primary(timeline)) => Some(state(false, timeline)),
                ("server_state", Node::Standby(timeline)) => Some(state(true, timeline)),
                _ => db.reply(name),
            }
        };
        match reply {
            None => Ok(Rows::default()),
            Some(Reply::Rows(rows)) => Ok(Rows {
                affected: rows.len() as u64,
                rows,
            }),
            Some(Reply::Affected(affected)) => Ok(Rows {
                rows: vec![],
                affected,
            }),
            Some(Reply::Refuse(code)) => Err(DbError::Server {
                sqlstate: code.to_owned(),
                message: "as scripted".to_owned(),
                // A CHECK, an exclusion, a key: all have names.
                constraint: code.starts_with("23").then(|| "some_constraint".to_owned()),
            }),
            Some(Reply::Lose) => {
                self.open = false;
                Err(DbError::Connection("as scripted".to_owned()))
            }
            Some(Reply::Hang) => std::future::pending().await,
        }
    }
}

fn state(standby: bool, timeline: i64) -> Reply {
    Reply::Rows(vec![vec![
        Value::Bool(standby),
        Value::Int(timeline),
        Value::Timestamp(DATABASE_US),
    ]])
}

impl Drop for FakeSession {
    fn drop(&mut self) {
        self.fakes.db().calls.push("close".to_owned());
    }
}

impl Session for FakeSession {
    fn begin(&mut self, tenant: Option<Uuid>) -> BoxFuture<'_, Result<(), DbError>> {
        let name = tenant.map_or("begin".to_owned(), |tenant| format!("begin {tenant}"));
        Box::pin(async move { self.call(&name).await.map(drop) })
    }

    fn run<'a>(
        &'a mut self,
        statement: &'a Statement,
        params: &'a [Value],
    ) -> BoxFuture<'a, Result<Rows, DbError>> {
        self.fakes
            .db()
            .params
            .push((statement.name.to_string(), params.to_vec()));
        Box::pin(self.call(&statement.name))
    }

    fn run_all<'a>(
        &'a mut self,
        batch: &'a [(&'a Statement, Vec<Value>)],
    ) -> BoxFuture<'a, Result<Vec<Rows>, DbError>> {
        Box::pin(async move {
            let mut all = Vec::new();
            for (statement, params) in batch {
                all.push(self.run(statement, params).await?);
            }
            Ok(all)
        })
    }

    fn commit(&mut self) -> BoxFuture<'_, Result<(), DbError>> {
        Box::pin(async move { self.call("commit").await.map(drop) })
    }

    fn rollback(&mut self) -> BoxFuture<'_, Result<(), DbError>> {
        Box::pin(async move { self.call("rollback").await.map(drop) })
    }

    fn is_open(&self) -> bool {
        self.open
    }
}

impl Connect for Fakes {
    fn connect<'a>(
        &'a self,
        endpoint: &'a str,
        _role: Role,
        _settings: SessionSettings,
    ) -> BoxFuture<'a, Result<Box<dyn Session>, DbError>> {
        Box::pin(async move {
            let node = {
                let mut db = self.db();
                db.calls.push(format!("connect {endpoint}"));
                db.nodes[endpoint]
            };
            match node {
                Node::Down => Err(DbError::Connection("refused".to_owned())),
                Node::Silent => std::future::pending().await,
                Node::Primary(_) | Node::Standby(_) => {
                    let session: Box<dyn Session> = Box::new(FakeSession {
                        fakes: self.clone(),
                        node: endpoint.to_owned(),
                        open: true,
                    });
                    Ok(session)
                }
            }
        })
    }
}

impl Broker for Fakes {
    fn publish<'a>(&'a self, messages: &'a [Message]) -> BoxFuture<'a, Result<(), BrokerError>> {
        let mut outside = self.outside();
        outside.publications += 1;
        let result = if outside.broker_fails > 0 {
            outside.broker_fails -= 1;
            Err(BrokerError("as scripted".to_owned()))
        } else {
            outside.published.extend_from_slice(messages);
            Ok(())
        };
        Box::pin(async move { result })
    }
}

impl Cache for Fakes {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, CacheError>> {
        let mut outside = self.outside();
        outside.cache_calls += 1;
        let (broken, value) = (
            outside.cache_broken.clone(),
            outside.cache.get(key).cloned(),
        );
        Box::pin(async move {
            match broken {
                None => Ok(value),
                Some(Reply::Hang) => std::future::pending().await,
                Some(_) => Err(CacheError("as scripted".to_owned())),
            }
        })
    }

    fn set<'a>(
        &'a self,
        key: &'a str,
        value: Vec<u8>,
        _ttl: Duration,
    ) -> BoxFuture<'a, Result<(), CacheError>> {
        self.outside().cache.insert(key.to_owned(), value);
        Box::pin(async { Ok(()) })
    }
}

struct Counting(AtomicU64);

impl Ids for Counting {
    fn uuid(&self) -> Uuid {
        Uuid::from_u128(self.bits().into())
    }

    fn bits(&self) -> u64 {
        self.0.fetch_add(1, SeqCst)
    }
}

impl Fakes {
    pub fn db(&self) -> MutexGuard<'_, Db> {
        self.db.lock().unwrap()
    }

    pub fn outside(&self) -> MutexGuard<'_, Outside> {
        self.outside.lock().unwrap()
    }
}

/// An instance with one primary, `a`, on which a hold of one night works.
pub struct Service {
    pub app: Arc<App>,
    pub fakes: Fakes,
    pub world: Arc<World>,
    pub clock: Handle,
}

impl Service {
    pub fn new(change: impl FnOnce(&mut Config)) -> Self {
        let world = Arc::new(World::default());
        let clock = Handle(Arc::clone(&world));
        let fakes = Fakes::default();
        let mut config = Config {
            database_endpoints: vec!["a".to_owned()],
            job_token: Secret(TOKEN.to_owned()),
            ..Config::default()
        };
        change(&mut config);
        for endpoint in &config.database_endpoints {
            fakes.db().nodes.insert(endpoint.clone(), Node::Standby(1));
        }
        fakes.db().nodes.insert("a".to_owned(), Node::Primary(1));
        usual(&mut fakes.db());
        let ports = Ports {
            connect: Arc::new(fakes.clone()),
            broker: Arc::new(fakes.clone()),
            cache: Arc::new(fakes.clone()),
            clock: Arc::new(clock.clone()),
            ids: Arc::new(Counting(AtomicU64::new(100))),
            spawn: Arc::new(clock.clone()),
        };
        let app = App::new(config, ports, SqlBook::embedded().unwrap()).unwrap();
        Self {
            app,
            fakes,
            world,
            clock,
        }
    }

    /// Sends one request, in the form `METHOD path`, and gives status, `Retry-After` and body.
    pub async fn send(
        &self,
        line: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, Option<String>, Json) {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(axum::body::Body::from(body.to_owned()))
            .unwrap();
        let (parts, body) = self
            .app
            .router()
            .oneshot(request)
            .await
            .unwrap()
            .into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let retry_after = parts
            .headers
            .get("retry-after")
            .map(|value| value.to_str().unwrap().to_owned());
        let body =
            serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{line}: {e}: {bytes:?}"));
        (parts.status.as_u16(), retry_after, body)
    }

    pub async fn hold(&self, key: &str) -> (u16, Option<String>, Json) {
        let body = format!(
            r#"{{"room_type_id":"{ROOM_TYPE}","arrival":"2026-12-01","nights":1,"channel":"walk_in"}}"#
        );
        self.send(
            "POST /v1/holds",
            &[("x-tenant-id", TENANT), ("idempotency-key", key)],
            &body,
        )
        .await
    }

    pub async fn sleep(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }

    /// How many calls of the database begin with this.
    pub fn count(&self, call: &str) -> usize {
        self.fakes.db().count(call)
    }

    pub fn metric(&self, series: &str) -> Option<f64> {
        let page = self.app.render_metrics();
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(line.parse().unwrap())
    }
}

fn usual(db: &mut Db) {
    let stay = vec![
        Value::Uuid(ROOM_TYPE),
        Value::Date(DAY),
        Value::Date(DAY + 1),
    ];
    let rows = |row: Vec<Value>| Reply::Rows(vec![row]);
    db.always("hold_claim_key", rows(vec![Value::Uuid(ALLOCATION)]));
    db.always("hold_lock_nights", rows(vec![Value::Date(DAY)]));
    db.always("hold_reserve_nights", rows(vec![Value::Date(DAY)]));
    db.always(
        "hold_insert",
        rows(vec![Value::Timestamp(1_796_000_600_000_000)]),
    );
    db.always(
        "availability",
        rows(vec![Value::Date(DAY), Value::Int(3), Value::Bool(false)]),
    );
    for guard in [
        "confirm_allocation",
        "release_allocation",
        "cancel_allocation",
        "expire_allocation",
    ] {
        db.always(guard, rows(stay.clone()));
    }
    db.always(
        "free_rooms",
        Reply::Rows(vec![
            vec![Value::Uuid(ROOM)],
            vec![Value::Uuid(Uuid::from_u128(0xe))],
        ]),
    );
    db.always("allocation_get", rows(allocation("held")));
    db.always("try_leadership", rows(vec![Value::Bool(true)]));
    db.always("sweep_lock", rows(vec![Value::Uuid(ALLOCATION)]));
    db.always(
        "collect_members",
        rows(vec![
            Value::Uuid(TENANT.parse().unwrap()),
            Value::Uuid(PROPERTY),
        ]),
    );
    db.always(
        "collect_jobs",
        rows(vec![
            Value::Text("expire-holds".into()),
            Value::Timestamp(1_795_999_990_000_000),
        ]),
    );
}

/// A row of `allocation_get`.
pub fn allocation(status: &str) -> Vec<Value> {
    vec![
        Value::Uuid(ALLOCATION),
        Value::Uuid(ROOM_TYPE),
        Value::Null,
        Value::Date(DAY),
        Value::Date(DAY + 1),
        Value::Text("direct".into()),
        Value::Text(status.into()),
        Value::Null,
    ]
}
