//! Health: `{"status", "checks"}`, `pass`, `warn` or `fail` each. Liveness says that the process answers; readiness, that it should
//! get requests. Nothing here calls a dependency: the last thing seen of each is told.
//!
//! Ready means: has reached the database once, and is not shutting down. A database that fails later is a warning: it is the
//! same for all instances, and taking all of them out would turn coded refusals into silence.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use crate::app::{App, DatabaseSeen};

impl App {
    /// Whether requests should be sent here.
    pub fn is_ready(&self) -> bool {
        !self.is_stopping() && self.seen() != DatabaseSeen::Never
    }

    pub(crate) fn health(&self) -> Response {
        let database = match self.seen() {
            DatabaseSeen::Working => "pass",
            DatabaseSeen::Failing => "warn",
            DatabaseSeen::Never => "fail",
        };
        let cache = if self.breaker.is_open() {
            "warn"
        } else {
            "pass"
        };
        let running = if self.is_stopping() { "fail" } else { "pass" };
        let status = if !self.is_ready() {
            "fail"
        } else if database == "warn" || cache == "warn" {
            "warn"
        } else {
            "pass"
        };
        let code = if self.is_ready() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let checks = json!({
            "database": { "status": database },
            "cache": { "status": cache },
            "accepting": { "status": running },
        });
        (
            code,
            axum::Json(json!({ "status": status, "checks": checks })),
        )
            .into_response()
    }
}

pub(crate) fn live() -> Response {
    axum::Json(json!({ "status": "pass", "checks": {} })).into_response()
}
