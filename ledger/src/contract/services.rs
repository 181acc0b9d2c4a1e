//! What the other jobs export that rules may count on: the order flow on top of the inventory, and the runtime below all of them.
//!
//! The order and the payment service stand here before their code does, so that rules, lints and dashboards agree on names;
//! nothing exports these rows yet. Container metrics are cAdvisor's own, by its names.

use super::{Kind, METRICS, Metric, PoolLabel, Registry, SECONDS, Series};

label_values! {
    /// How an order ended, so far; an order without a room is refused, which is no error.
    OrderStatus {
        Ok = "ok", PaymentPending = "payment_pending", Refused = "refused", Error = "error",
    }
}
label_values! {
    /// How a payment ended.
    PaymentStatus { Ok = "ok", Error = "error", }
}
label_values! {
    /// Why a payment failed; `none` if it did not.
    ErrorType {
        None = "none", Declined = "declined", Timeout = "timeout", Unavailable = "unavailable",
        ShortCircuited = "short_circuited", Internal = "internal",
    }
}

/// A job of the scraping Prometheus, and what each of its targets exports.
pub const JOBS: [(&str, &[Metric]); 4] = [
    ("inventory-service", METRICS),
    ("order-service", ORDERS),
    ("payment-service", PAYMENTS),
    ("cadvisor", CONTAINERS),
];

const fn row(
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    series: Series,
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        unit,
        help,
        series,
    }
}

const POOL: Series = Series::Per("pool", PoolLabel::VALUES);
const PER_CONTAINER: Series = Series::Each(Registry::Container);

/// The order service.
pub const ORDERS: &[Metric] = &[
    row(
        "orders_total",
        Kind::Counter,
        "1",
        Series::Per("status", OrderStatus::VALUES),
        "Orders by how they ended.",
    ),
    row(
        "order_processing_seconds",
        SECONDS,
        "seconds",
        Series::One,
        "Time from an order to its answer.",
    ),
    row(
        "db_pool_size",
        Kind::Gauge,
        "1",
        POOL,
        "Sessions that a pool may have.",
    ),
    row(
        "db_connections_used",
        Kind::Gauge,
        "1",
        POOL,
        "Sessions of a pool that somebody is using.",
    ),
];

/// The payment service.
pub const PAYMENTS: &[Metric] = &[
    row(
        "payments_total",
        Kind::Counter,
        "1",
        Series::Pairs(
            "status",
            PaymentStatus::VALUES,
            "error_type",
            ErrorType::VALUES,
        ),
        "Payments by how they ended and why.",
    ),
    row(
        "payment_processing_seconds",
        SECONDS,
        "seconds",
        Series::One,
        "Time from a payment to its answer, retries included.",
    ),
];

/// The container runtime, as cAdvisor shows it.
pub const CONTAINERS: &[Metric] = &[
    row(
        "container_cpu_usage_seconds_total",
        Kind::Counter,
        "seconds",
        PER_CONTAINER,
        "CPU time used.",
    ),
    row(
        "container_spec_cpu_quota",
        Kind::Gauge,
        "microseconds",
        PER_CONTAINER,
        "CPU time that the container may use in a period.",
    ),
    row(
        "container_spec_cpu_period",
        Kind::Gauge,
        "microseconds",
        PER_CONTAINER,
        "Length of a period.",
    ),
    row(
        "container_memory_usage_bytes",
        Kind::Gauge,
        "bytes",
        PER_CONTAINER,
        "Memory in use, caches included.",
    ),
];
