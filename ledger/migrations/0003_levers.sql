-- What operators do in an emergency, and the record of it.

-- A row is a freeze: nothing of this tenant is written by the service until the row is gone.
CREATE TABLE tenant_freezes (
    tenant_id uuid PRIMARY KEY DEFAULT current_setting('app.tenant_id')::uuid,
    reason text NOT NULL,
    frozen_at timestamptz NOT NULL DEFAULT now()
);

-- One row per step of a lever's use, in the transaction of the change itself. Nobody updates or deletes.
CREATE TABLE audit_log (
    tenant_id uuid NOT NULL DEFAULT current_setting('app.tenant_id')::uuid,
    correlation_id text NOT NULL,
    step text NOT NULL,
    lever text NOT NULL,
    target text NOT NULL,
    principal text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, correlation_id, step),
    CONSTRAINT audit_log_step CHECK (step IN ('requested', 'done'))
);

GRANT SELECT, INSERT, DELETE ON tenant_freezes TO ledger_app;
GRANT SELECT, INSERT ON audit_log TO ledger_app, ledger_worker;

ALTER TABLE tenant_freezes ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_freezes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_freezes_tenant ON tenant_freezes TO ledger_app USING (tenant_id = current_setting('app.tenant_id')::uuid);

ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_log FORCE ROW LEVEL SECURITY;
CREATE POLICY audit_log_tenant ON audit_log TO ledger_app USING (tenant_id = current_setting('app.tenant_id')::uuid);
CREATE POLICY audit_log_worker ON audit_log TO ledger_worker USING (tenant_id = current_setting('app.tenant_id')::uuid);
