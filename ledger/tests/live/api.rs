//! One instance of the ledger on a database of its own, and a client that talks HTTP to it.

use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use jiff::civil::Date;
use ledger::{
    App, Config, Ports, Secret, SqlBook,
    ports::{
        BoxFuture, Broker, BrokerError, Connect, Ids, Message, Role, Session, SessionSettings,
        Value,
    },
    postgres::{
        MemoryCache, PgConnect, SystemClock, SystemIds, TokioSpawn, bootstrap, migrate, serve,
    },
    schema,
};
use serde_json::{Value as Json, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::{net::TcpStream, sync::Notify};
use uuid::Uuid;

use crate::server::{Server, server};

pub const TOKEN: &str = "a token of the tests";

/// A broker that remembers.
#[derive(Default)]
pub struct Remembering(pub Mutex<Vec<Message>>);

impl Broker for Remembering {
    fn publish<'a>(&'a self, messages: &'a [Message]) -> BoxFuture<'a, Result<(), BrokerError>> {
        self.0.lock().unwrap().extend_from_slice(messages);
        Box::pin(async { Ok(()) })
    }
}

pub struct Ledger {
    pub app: Arc<App>,
    pub broker: Arc<Remembering>,
    pub book: SqlBook,
    address: std::net::SocketAddr,
    url: String,
    database: String,
    stop: Arc<Notify>,
    server: Arc<Server>,
}

/// A tenant with one room type.
#[derive(Clone, Copy, Debug)]
pub struct Hotel {
    pub tenant: Uuid,
    pub property: Uuid,
    pub room_type: Uuid,
}

pub struct Answer {
    pub status: u16,
    pub body: Json,
    pub retry_after: Option<String>,
}

/// Runs `case` on a fresh database, if there is a PostgreSQL.
pub fn live<F: Future<Output = ()>>(
    change: impl FnOnce(&mut Config),
    case: impl FnOnce(Arc<Ledger>) -> F,
) {
    let Some(server) = server() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let ledger = Arc::new(Ledger::start(server, change).await);
        case(Arc::clone(&ledger)).await;
        ledger.stop.notify_one();
        // A failed case leaves its database to be looked at.
        ledger.server.drop_database(&ledger.database).await;
    });
}

impl Ledger {
    async fn start(server: Arc<Server>, change: impl FnOnce(&mut Config)) -> Self {
        let schema = schema::embedded();
        let database = server.name();
        let admin = server.admin_url("postgres");
        bootstrap(&admin, &schema).await.unwrap();
        let mut connection = PgConnection::connect(&admin).await.unwrap();
        let create = format!("CREATE DATABASE {database} OWNER ledger_owner");
        connection.execute(AssertSqlSafe(create)).await.unwrap();
        let url = server.url("", &database);
        let owner = server.url("ledger_owner", &database);
        migrate(&owner, &schema).await.unwrap();
        // Once more changes nothing.
        migrate(&owner, &schema).await.unwrap();

        let mut config = Config {
            database_endpoints: vec![url.clone()],
            job_token: Secret(TOKEN.to_owned()),
            ..Config::default()
        };
        change(&mut config);
        let clock = Arc::new(SystemClock::start());
        let broker = Arc::new(Remembering::default());
        let ports = Ports {
            connect: Arc::new(PgConnect::default()),
            broker: broker.clone(),
            cache: Arc::new(MemoryCache::new(clock.clone(), 1000)),
            clock,
            ids: Arc::new(SystemIds),
            spawn: Arc::new(TokioSpawn),
        };
        let book = SqlBook::embedded().unwrap();
        let app = App::new(config, ports, book.clone()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(Notify::new());
        let (served, stopped) = (Arc::clone(&app), Arc::clone(&stop));
        let serving = async move {
            serve(served, listener, async move { stopped.notified().await })
                .await
                .unwrap()
        };
        ledger::ports::Spawn::spawn(&TokioSpawn, Box::pin(serving));
        Self {
            app,
            broker,
            book,
            address,
            url,
            database,
            stop,
            server,
        }
    }

    /// Runs SQL as the administrator.
    pub async fn admin(&self, sql: &str) {
        let url = self.server.admin_url(&self.database);
        let mut connection = PgConnection::connect(&url).await.unwrap();
        connection
            .execute(AssertSqlSafe(sql.to_owned()))
            .await
            .unwrap();
    }

    /// A number, read by the administrator.
    pub async fn number(&self, sql: &str) -> i64 {
        let url = self.server.admin_url(&self.database);
        let mut connection = PgConnection::connect(&url).await.unwrap();
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&mut connection)
            .await
            .unwrap()
    }

    /// A session as the service opens them.
    pub async fn session(&self, role: Role) -> Box<dyn Session> {
        let second = std::time::Duration::from_secs(5);
        let settings = SessionSettings {
            statement_timeout: second,
            lock_timeout: second,
        };
        PgConnect::default()
            .connect(&self.url, role, settings)
            .await
            .unwrap()
    }

    /// A new tenant with `rooms` rooms on `nights` nights from 2026-12-01 on.
    pub async fn hotel(&self, rooms: i64, nights: i32) -> Hotel {
        let hotel = Hotel {
            tenant: SystemIds.uuid(),
            property: SystemIds.uuid(),
            room_type: SystemIds.uuid(),
        };
        let property = Value::Uuid(hotel.property);
        let room_type = Value::Uuid(hotel.room_type);
        let text = |text: String| Value::Text(text.into());
        let mut session = self.session(Role::App).await;
        session.begin(Some(hotel.tenant)).await.unwrap();
        let named = [property.clone(), text("house".into())];
        session.run(&self.book.add_property, &named).await.unwrap();
        let typed = [room_type.clone(), property, text("double".into())];
        session.run(&self.book.add_room_type, &typed).await.unwrap();
        for number in 0..rooms {
            let room = [
                Value::Uuid(SystemIds.uuid()),
                room_type.clone(),
                text(format!("{:03}", 100 + number)),
            ];
            session.run(&self.book.add_room, &room).await.unwrap();
        }
        for night in 0..nights {
            let night = [
                room_type.clone(),
                Value::Date(days("2026-12-01") + night),
                Value::Int(rooms),
                Value::Int(0),
            ];
            session.run(&self.book.add_night, &night).await.unwrap();
        }
        session.commit().await.unwrap();
        hotel
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Json>,
    ) -> Answer {
        let (status, headers, bytes) = self.raw(method, path, headers, body).await;
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|e| panic!("{method} {path}: {e}: {bytes:?}"));
        let retry_after = headers
            .get("retry-after")
            .map(|value| value.to_str().unwrap().to_owned());
        Answer {
            status,
            body,
            retry_after,
        }
    }

    async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Json>,
    ) -> (u16, http::HeaderMap, bytes::Bytes) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        ledger::ports::Spawn::spawn(&TokioSpawn, Box::pin(async move { drop(connection.await) }));
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "ledger");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let response = sender
            .send_request(request.body(Full::<bytes::Bytes>::from(body)).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        (
            parts.status.as_u16(),
            parts.headers,
            body.collect().await.unwrap().to_bytes(),
        )
    }

    pub async fn hold(&self, hotel: &Hotel, key: &str, arrival: &str, nights: i32) -> Answer {
        let tenant = hotel.tenant.to_string();
        let body = json!({ "room_type_id": hotel.room_type, "arrival": arrival, "nights": nights, "channel": "direct" });
        let headers = [("x-tenant-id", tenant.as_str()), ("idempotency-key", key)];
        self.send("POST", "/v1/holds", &headers, Some(body)).await
    }

    /// `verb` is `confirm`, `release` or `cancel`.
    pub async fn change(&self, tenant: Uuid, id: &str, verb: &str) -> Answer {
        let path = format!("/v1/allocations/{id}/{verb}");
        self.send("POST", &path, &[("x-tenant-id", &tenant.to_string())], None)
            .await
    }

    pub async fn get(&self, tenant: Uuid, path: &str) -> Answer {
        self.send("GET", path, &[("x-tenant-id", &tenant.to_string())], None)
            .await
    }

    /// Rooms left on the first of the nights, past the cache.
    pub async fn left(&self, hotel: &Hotel, night: &str) -> i64 {
        let sql = format!(
            "SELECT (capacity + policy_extra - held - confirmed)::bigint FROM room_type_inventory_daily
             WHERE room_type_id = '{}' AND night = '{night}'",
            hotel.room_type
        );
        self.number(&sql).await
    }

    pub async fn job(&self, job: &str) -> Answer {
        let token = format!("Bearer {TOKEN}");
        self.send(
            "POST",
            &format!("/internal/jobs/{job}"),
            &[("authorization", &token)],
            None,
        )
        .await
    }

    /// The value of a line of `/metrics`.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let (_, _, page) = self.raw("GET", "/metrics", &[], None).await;
        let page = String::from_utf8(page.to_vec()).unwrap();
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(line.parse().unwrap())
    }
}

impl Answer {
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    pub fn id(&self) -> String {
        self.body["allocation_id"]
            .as_str()
            .unwrap_or_else(|| panic!("{}", self.body))
            .to_owned()
    }
}

pub fn days(date: &str) -> i32 {
    let date: Date = date.parse().unwrap();
    (jiff::civil::date(1970, 1, 1)
        .duration_until(date)
        .as_hours()
        / 24) as i32
}
