//! The routes of the emergency levers: who calls, for which tenant, under which correlation id, with which body.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    routing::post,
};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    api::{header_text, read_body, tenant},
    app::App,
    error::ApiError,
    levers::{Lever, Pulled},
    principals,
};

const CORRELATION_BYTES_MAX: usize = 64;
const REASON_BYTES_MAX: usize = 200;

type Answer = Result<(StatusCode, Json<Pulled>), ApiError>;
type Body = Result<Bytes, BytesRejection>;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/internal/admin/stop-sell-property", post(stop_sell))
        .route("/internal/admin/freeze-tenant-writes", post(freeze))
        .route("/internal/admin/replay-outbox", post(replay))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StopSell {
    property_id: Uuid,
    stop_sell: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Freeze {
    frozen: bool,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replay {
    outbox_id: i64,
}

async fn stop_sell(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Answer {
    let lever = |body: StopSell| {
        Ok(Lever::StopSell {
            property_id: body.property_id,
            stop_sell: body.stop_sell,
        })
    };
    pull(&app, &headers, body, lever).await
}

async fn freeze(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Answer {
    let lever = |body: Freeze| match body.reason.is_empty() || body.reason.len() > REASON_BYTES_MAX
    {
        true => Err(ApiError::bad_request("reason: 1 to 200 bytes")),
        false => Ok(Lever::Freeze {
            frozen: body.frozen,
            reason: body.reason,
        }),
    };
    pull(&app, &headers, body, lever).await
}

async fn replay(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Answer {
    let lever = |body: Replay| {
        Ok(Lever::Replay {
            outbox_id: body.outbox_id,
        })
    };
    pull(&app, &headers, body, lever).await
}

async fn pull<B: DeserializeOwned>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    lever: impl FnOnce(B) -> Result<Lever, ApiError>,
) -> Answer {
    // Who is unknown learns nothing of what a request should look like.
    let principal = principals::of(&app.config.principals, headers).ok_or_else(|| {
        ApiError::new(
            StatusCode::UNAUTHORIZED,
            "unauthorised",
            "this route needs a principal's bearer token",
        )
    })?;
    let (tenant, correlation) = (tenant(headers)?, correlation_id(headers)?);
    let lever = lever(read_body(body)?)?;
    let pulled = app.pull(tenant, principal, correlation, &lever).await?;
    let status = match pulled {
        Pulled::AwaitingSecondPerson => StatusCode::ACCEPTED,
        Pulled::Done { .. } | Pulled::DoneBefore => StatusCode::OK,
    };
    Ok((status, Json(pulled)))
}

fn correlation_id(headers: &HeaderMap) -> Result<&str, ApiError> {
    let id = header_text(headers, "x-correlation-id")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match id.is_empty() || id.len() > CORRELATION_BYTES_MAX || !id.bytes().all(plain) {
        true => Err(ApiError::bad_request(
            "x-correlation-id: 1 to 64 characters out of a-z, A-Z, 0-9, -, _ and .",
        )),
        false => Ok(id),
    }
}
