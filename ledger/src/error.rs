//! Errors as the API tells them: a status, a code that programs act on, a sentence for people.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value as Json, json};

use crate::contract::{Outcome, Reason};

/// The code of a hold that waited in vain for row locks.
pub const LOCK_TIMEOUT: &str = "MELMASTOON.INVENTORY.LOCK_TIMEOUT";
/// The code of a request that found no database.
pub const UNAVAILABLE: &str = "MELMASTOON.INVENTORY.UNAVAILABLE";
/// The code of a change that may or may not have happened: repeat it with the same key.
pub const OUTCOME_UNKNOWN: &str = "MELMASTOON.INVENTORY.OUTCOME_UNKNOWN";
/// The code of a change that an operator's freeze refuses.
pub const MAINTENANCE_FREEZE: &str = "MELMASTOON.INVENTORY.MAINTENANCE_FREEZE";

/// One refusal or failure.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// For programs.
    pub code: &'static str,
    /// For people: what was wrong and what to do.
    pub message: String,
    /// Seconds for `Retry-After`.
    pub retry_after: Option<u32>,
    /// Further members of the `error` object.
    pub details: Map<String, Json>,
}

impl ApiError {
    /// An error without details.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry_after: None,
            details: Map::new(),
        }
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 404.
    pub fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// 409.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// 503 with `Retry-After`.
    pub fn later(code: &'static str, message: impl Into<String>, seconds: u32) -> Self {
        Self {
            retry_after: Some(seconds),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
        }
    }

    /// 500: a fault of the service.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// Adds a member to the `error` object.
    pub fn with(mut self, key: &str, value: Json) -> Self {
        self.details.insert(key.to_owned(), value);
        self
    }

    /// How the operation is counted.
    pub fn outcome(&self) -> Outcome {
        match (self.status.as_u16(), self.code) {
            (_, LOCK_TIMEOUT) => Outcome::LockTimeout,
            (_, UNAVAILABLE) => Outcome::Unavailable,
            (_, OUTCOME_UNKNOWN) => Outcome::Unknown,
            (_, MAINTENANCE_FREEZE) => Outcome::Frozen,
            (_, "insufficient_availability") => Outcome::Insufficient,
            (409, _) => Outcome::Conflict,
            (400..=499, _) => Outcome::Invalid,
            _ => Outcome::Error,
        }
    }

    /// Why an allocation failed for good, where it did.
    pub fn failure(&self) -> Option<Reason> {
        match self.outcome() {
            Outcome::Insufficient => Some(Reason::Insufficient),
            Outcome::LockTimeout => Some(Reason::LockTimeout),
            Outcome::Unavailable => Some(Reason::Unavailable),
            Outcome::Unknown => Some(Reason::Unknown),
            Outcome::Error => Some(Reason::Error),
            Outcome::Ok
            | Outcome::Repeated
            | Outcome::Conflict
            | Outcome::Invalid
            | Outcome::Frozen => None,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut error = Map::new();
        error.insert("code".to_owned(), json!(self.code));
        error.insert("message".to_owned(), json!(self.message));
        error.extend(self.details);
        let mut response = (self.status, axum::Json(json!({ "error": error }))).into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
