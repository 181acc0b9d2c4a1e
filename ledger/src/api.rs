//! The HTTP API: reads requests strictly, calls one operation, answers in JSON. What cannot be understood is refused with the
//! reason before anything is asked of the database.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{
        DefaultBodyLimit, MatchedPath, Path, Query, Request, State,
        rejection::{BytesRejection, PathRejection, QueryRejection},
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode, header};
use jiff::civil::Date;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use uuid::Uuid;

use crate::{
    admin,
    app::App,
    availability::Availability,
    contract::{Code, Id, Route},
    error::ApiError,
    health,
    hold::{Held, HoldRequest},
    principals,
    stay::{Allocation, NIGHTS_MAX, Stay, days_of},
    transitions::Transition,
};

/// Longest request body; the only one that exists has about 200 bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;
const KEY_BYTES_MAX: usize = 128;
const CHANNEL_BYTES_MAX: usize = 32;

type Shared = State<Arc<App>>;
type IdInPath = Result<Path<String>, PathRejection>;

impl App {
    /// All routes. The caller serves them and stops accepting at shutdown.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/v1/room-types/{id}/availability", get(availability))
            .route("/v1/holds", post(hold))
            .route("/v1/allocations/{id}", get(allocation))
            .route("/v1/allocations/{id}/confirm", post(confirm))
            .route("/v1/allocations/{id}/release", post(release))
            .route("/v1/allocations/{id}/cancel", post(cancel))
            .route("/internal/jobs/expire-holds", post(expire_holds))
            .route("/internal/jobs/relay-outbox", post(relay_outbox))
            .route("/internal/jobs/audit-overbooking", post(audit_overbooking))
            .merge(admin::routes())
            .route("/metrics", get(metrics))
            .route("/health", get(ready))
            .route("/health/live", get(|| async { health::live() }))
            .route("/health/ready", get(ready))
            .fallback(|| async { ApiError::not_found("no_such_route", "there is no such route") })
            .method_not_allowed_fallback(|| async {
                ApiError::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "method_not_allowed",
                    "this route has another method",
                )
            })
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(middleware::from_fn_with_state(Arc::clone(self), counted))
            .with_state(Arc::clone(self))
    }
}

/// Counts answers by route as declared, not by path as asked.
async fn counted(State(app): Shared, request: Request, next: Next) -> Response {
    let route = match request.extensions().get::<MatchedPath>() {
        Some(path) => route_label(path.as_str()),
        None => Route::Unmatched,
    };
    let response = next.run(request).await;
    let code = Code::of(response.status().as_u16());
    app.metrics
        .inc_pair(Id::HttpRequests, route as usize, code as usize);
    response
}

fn route_label(path: &str) -> Route {
    use Route::*;
    if path.starts_with(Health.as_str()) {
        return Health;
    }
    [
        Availability,
        Holds,
        Allocation,
        Confirm,
        Release,
        Cancel,
        ExpireHolds,
        RelayOutbox,
        Audit,
        StopSell,
        Freeze,
        Replay,
        Metrics,
    ]
    .into_iter()
    .find(|route| route.as_str() == path)
    .unwrap_or(Unmatched)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchQuery {
    arrival: String,
    nights: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HoldBody {
    room_type_id: Uuid,
    arrival: String,
    nights: i32,
    channel: String,
}

async fn availability(
    State(app): Shared,
    id: IdInPath,
    headers: HeaderMap,
    query: Result<Query<SearchQuery>, QueryRejection>,
) -> Result<Json<Availability>, ApiError> {
    let tenant = tenant(&headers)?;
    let Query(query) = query.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let nights = query
        .nights
        .parse()
        .map_err(|_| ApiError::bad_request("nights: not a whole number"))?;
    let stay = stay(parse_id(id)?, &query.arrival, nights)?;
    Ok(Json(app.availability(tenant, stay).await?))
}

async fn hold(
    State(app): Shared,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Allocation>), ApiError> {
    let tenant = tenant(&headers)?;
    let key = idempotency_key(&headers)?;
    let body: HoldBody = read_body(body)?;
    let named = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-'
    };
    if body.channel.is_empty()
        || body.channel.len() > CHANNEL_BYTES_MAX
        || !body.channel.bytes().all(named)
    {
        return Err(ApiError::bad_request(
            "channel: 1 to 32 characters out of a-z, 0-9, _ and -",
        ));
    }
    let request = HoldRequest {
        tenant,
        key,
        stay: stay(body.room_type_id, &body.arrival, body.nights)?,
        channel: body.channel,
    };
    Ok(match app.hold(&request).await? {
        Held::New(allocation) => (StatusCode::CREATED, Json(allocation)),
        Held::Repeated(allocation) => (StatusCode::OK, Json(allocation)),
    })
}

async fn allocation(
    State(app): Shared,
    id: IdInPath,
    headers: HeaderMap,
) -> Result<Json<Allocation>, ApiError> {
    let (tenant, id) = (tenant(&headers)?, parse_id(id)?);
    Ok(Json(app.allocation(tenant, id).await?))
}

async fn confirm(
    state: Shared,
    id: IdInPath,
    headers: HeaderMap,
) -> Result<Json<Allocation>, ApiError> {
    change(state, id, headers, Transition::Confirm).await
}

async fn release(
    state: Shared,
    id: IdInPath,
    headers: HeaderMap,
) -> Result<Json<Allocation>, ApiError> {
    change(state, id, headers, Transition::Release).await
}

async fn cancel(
    state: Shared,
    id: IdInPath,
    headers: HeaderMap,
) -> Result<Json<Allocation>, ApiError> {
    change(state, id, headers, Transition::Cancel).await
}

async fn change(
    State(app): Shared,
    id: IdInPath,
    headers: HeaderMap,
    transition: Transition,
) -> Result<Json<Allocation>, ApiError> {
    let (tenant, id) = (tenant(&headers)?, parse_id(id)?);
    Ok(Json(app.change(tenant, id, transition).await?.allocation))
}

async fn expire_holds(State(app): Shared, headers: HeaderMap) -> Result<Response, ApiError> {
    app.authorise(&headers)?;
    let done = app.sweep().await.map_err(|fault| app.told(fault.into()))?;
    Ok(Json(done).into_response())
}

async fn relay_outbox(State(app): Shared, headers: HeaderMap) -> Result<Response, ApiError> {
    app.authorise(&headers)?;
    let done = app.relay().await.map_err(|error| app.job_failed(&error))?;
    Ok(Json(done).into_response())
}

async fn audit_overbooking(State(app): Shared, headers: HeaderMap) -> Result<Response, ApiError> {
    app.authorise(&headers)?;
    let done = app.audit().await.map_err(|fault| app.told(fault.into()))?;
    Ok(Json(done).into_response())
}

async fn metrics(State(app): Shared) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.render_metrics()).into_response()
}

async fn ready(State(app): Shared) -> Response {
    app.health()
}

impl App {
    fn authorise(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        if principals::bears(headers, &self.config.job_token) {
            return Ok(());
        }
        Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "unauthorised",
            "this route needs the jobs' bearer token",
        ))
    }

    fn job_failed(&self, error: &crate::relay::RelayError) -> ApiError {
        ApiError::later(
            crate::error::UNAVAILABLE,
            error.to_string(),
            self.config.retry_after_seconds,
        )
    }
}

/// Reads a JSON body strictly.
pub(crate) fn read_body<B: DeserializeOwned>(
    body: Result<Bytes, BytesRejection>,
) -> Result<B, ApiError> {
    let body =
        body.map_err(|error| ApiError::new(error.status(), "body_refused", error.body_text()))?;
    serde_json::from_slice(&body).map_err(|error| ApiError::bad_request(format!("body: {error}")))
}

pub(crate) fn header_text<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> Result<&'a str, ApiError> {
    let value = headers
        .get(name)
        .ok_or_else(|| ApiError::bad_request(format!("{name}: header is missing")))?;
    value
        .to_str()
        .map_err(|_| ApiError::bad_request(format!("{name}: not plain text")))
}

pub(crate) fn tenant(headers: &HeaderMap) -> Result<Uuid, ApiError> {
    header_text(headers, "x-tenant-id")?
        .parse()
        .map_err(|_| ApiError::bad_request("x-tenant-id: not a UUID"))
}

fn idempotency_key(headers: &HeaderMap) -> Result<String, ApiError> {
    let key = header_text(headers, "idempotency-key")?;
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(ApiError::bad_request(
            "idempotency-key: 1 to 128 characters",
        ));
    }
    Ok(key.to_owned())
}

fn parse_id(id: IdInPath) -> Result<Uuid, ApiError> {
    let Path(id) = id.map_err(|error| ApiError::bad_request(error.body_text()))?;
    id.parse()
        .map_err(|_| ApiError::bad_request("id: not a UUID"))
}

fn stay(room_type: Uuid, arrival: &str, nights: i32) -> Result<Stay, ApiError> {
    let date: Date = arrival
        .parse()
        .map_err(|_| ApiError::bad_request("arrival: not a date (YYYY-MM-DD)"))?;
    if !(2000..=2100).contains(&date.year()) {
        return Err(ApiError::bad_request("arrival: outside of 2000 to 2100"));
    }
    if !(1..=NIGHTS_MAX).contains(&nights) {
        return Err(ApiError::bad_request("nights: must lie in 1..=30")
            .with("nights_max", json!(NIGHTS_MAX)));
    }
    let arrival = days_of(date);
    Ok(Stay {
        room_type,
        arrival,
        departure: arrival + nights,
    })
}
