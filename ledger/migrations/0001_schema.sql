-- Tables of the ledger. Each row belongs to one tenant; the column fills itself from the transaction's tenant, so no
-- statement names it. The setting has no default: without `SET LOCAL app.tenant_id` the cast fails, it does not match nothing.

CREATE EXTENSION IF NOT EXISTS btree_gist;

CREATE TABLE properties (
    property_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL DEFAULT current_setting('app.tenant_id')::uuid,
    name text NOT NULL
);

CREATE TABLE room_types (
    room_type_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL DEFAULT current_setting('app.tenant_id')::uuid,
    property_id uuid NOT NULL REFERENCES properties (property_id),
    name text NOT NULL
);

CREATE TABLE rooms (
    room_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL DEFAULT current_setting('app.tenant_id')::uuid,
    room_type_id uuid NOT NULL REFERENCES room_types (room_type_id),
    number text NOT NULL,
    CONSTRAINT rooms_number_key UNIQUE (room_type_id, number)
);

-- The counters of one room type and night: what is sold against what may be sold.
CREATE TABLE room_type_inventory_daily (
    tenant_id uuid NOT NULL DEFAULT current_setting('app.tenant_id')::uuid,
    room_type_id uuid NOT NULL,
    night date NOT NULL,
    capacity integer NOT NULL,
    policy_extra integer NOT NULL DEFAULT 0,
    held integer NOT NULL DEFAULT 0,
    confirmed integer NOT NULL DEFAULT 0,
    stop_sell boolean NOT NULL DEFAULT false,
    PRIMARY KEY (room_type_id, night),
    CONSTRAINT room_type_inventory_daily_counts CHECK (held >= 0 AND confirmed >= 0 AND capacity >= 0 AND policy_extra >= 0),
    CONSTRAINT room_type_inventory_daily_not_oversold CHECK (held + confirmed <= capacity + policy_extra)
) PARTITION BY RANGE (night);

CREATE TABLE room_type_inventory_daily_2026h1 PARTITION OF room_type_inventory_daily FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE TABLE room_type_inventory_daily_2026h2 PARTITION OF room_type_inventory_daily FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
CREATE TABLE room_type_inventory_daily_2027h1 PARTITION OF room_type_inventory_daily FOR VALUES FROM ('2027-01-01') TO ('2027-07-01');
CREATE TABLE room_type_inventory_daily_2027h2 PARTITION OF room_type_inventory_daily FOR VALUES FROM ('2027-07-01') TO ('2028-01-01');
CREATE TABLE room_type_inventory_daily_default PARTITION OF room_type_inventory_daily DEFAULT;

-- One stay: arrival inclusive, departure exclusive. A room is assigned at confirmation.
CREATE TABLE room_allocations (
    allocation_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL DEFAULT current_setting('app.tenant_id')::uuid,
    room_type_id uuid NOT NULL REFERENCES room_types (room_type_id),
    room_id uuid REFERENCES rooms (room_id),
    arrival date NOT NULL,
    departure date NOT NULL,
    channel text NOT NULL,
    status text NOT NULL DEFAULT 'held',
    hold_until timestamptz,
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT room_allocations_status CHECK (status IN ('held', 'confirmed', 'released', 'expired', 'cancelled')),
    CONSTRAINT room_allocations_stay CHECK (arrival < departure AND departure <= arrival + 30),
    CONSTRAINT room_allocations_held_until CHECK ((status = 'held') = (hold_until IS NOT NULL)),
    CONSTRAINT room_allocations_no_double_room EXCLUDE USING gist (room_id WITH =, daterange(arrival, departure) WITH &&)
        WHERE (room_id IS NOT NULL AND status IN ('held', 'confirmed'))
);

CREATE INDEX room_allocations_held_expiry_idx ON room_allocations (hold_until) WHERE status = 'held';
CREATE INDEX room_allocations_active_idx ON room_allocations (room_type_id, arrival) WHERE status IN ('held', 'confirmed');
CREATE INDEX room_allocations_changed_idx ON room_allocations (changed_at);

-- What a client asked under a key and which allocation answered it: a repetition finds it instead of acting again.
CREATE TABLE idempotency_keys (
    tenant_id uuid NOT NULL DEFAULT current_setting('app.tenant_id')::uuid,
    idempotency_key text NOT NULL,
    request_hash text NOT NULL,
    allocation_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, idempotency_key)
);

-- Events to publish, in order per ordering key. The key is the allocation, whose row lock serialises its events.
CREATE TABLE outbox (
    outbox_id bigserial PRIMARY KEY,
    tenant_id uuid NOT NULL DEFAULT current_setting('app.tenant_id')::uuid,
    ordering_key uuid NOT NULL,
    event_type text NOT NULL,
    payload text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz
);

CREATE INDEX outbox_unpublished_idx ON outbox (outbox_id) WHERE published_at IS NULL;
CREATE INDEX outbox_unpublished_age_idx ON outbox (created_at) WHERE published_at IS NULL;

-- When each job last ran to its end: read by the collector, so that a job that stopped is seen by its age.
CREATE TABLE job_runs (
    job text PRIMARY KEY,
    succeeded_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO job_runs (job) VALUES ('expire-holds'), ('audit-overbooking');
