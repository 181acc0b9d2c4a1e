-- Who may touch what. Row policies are the only place where tenants are kept apart.

GRANT SELECT, INSERT ON properties, room_types, rooms TO ledger_app;
GRANT SELECT, INSERT, UPDATE ON room_type_inventory_daily, room_allocations TO ledger_app;
GRANT SELECT, INSERT ON idempotency_keys TO ledger_app;
GRANT INSERT ON outbox TO ledger_app;
GRANT USAGE ON SEQUENCE outbox_outbox_id_seq TO ledger_app;

GRANT SELECT ON room_types, room_type_inventory_daily, room_allocations TO ledger_worker;
GRANT SELECT, UPDATE ON outbox TO ledger_worker;
GRANT SELECT, UPDATE ON job_runs TO ledger_worker;

ALTER TABLE properties ENABLE ROW LEVEL SECURITY;
ALTER TABLE properties FORCE ROW LEVEL SECURITY;
CREATE POLICY properties_tenant ON properties TO ledger_app USING (tenant_id = current_setting('app.tenant_id')::uuid);

ALTER TABLE room_types ENABLE ROW LEVEL SECURITY;
ALTER TABLE room_types FORCE ROW LEVEL SECURITY;
CREATE POLICY room_types_tenant ON room_types TO ledger_app USING (tenant_id = current_setting('app.tenant_id')::uuid);
CREATE POLICY room_types_worker ON room_types FOR SELECT TO ledger_worker USING (true);

ALTER TABLE rooms ENABLE ROW LEVEL SECURITY;
ALTER TABLE rooms FORCE ROW LEVEL SECURITY;
CREATE POLICY rooms_tenant ON rooms TO ledger_app USING (tenant_id = current_setting('app.tenant_id')::uuid);

ALTER TABLE room_type_inventory_daily ENABLE ROW LEVEL SECURITY;
ALTER TABLE room_type_inventory_daily FORCE ROW LEVEL SECURITY;
CREATE POLICY room_type_inventory_daily_tenant ON room_type_inventory_daily TO ledger_app USING (tenant_id = current_setting('app.tenant_id')::uuid);
CREATE POLICY room_type_inventory_daily_worker ON room_type_inventory_daily FOR SELECT TO ledger_worker USING (true);

ALTER TABLE room_allocations ENABLE ROW LEVEL SECURITY;
ALTER TABLE room_allocations FORCE ROW LEVEL SECURITY;
CREATE POLICY room_allocations_tenant ON room_allocations TO ledger_app USING (tenant_id = current_setting('app.tenant_id')::uuid);
CREATE POLICY room_allocations_worker ON room_allocations FOR SELECT TO ledger_worker USING (true);

ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY idempotency_keys_tenant ON idempotency_keys TO ledger_app USING (tenant_id = current_setting('app.tenant_id')::uuid);

ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbox FORCE ROW LEVEL SECURITY;
CREATE POLICY outbox_tenant ON outbox FOR INSERT TO ledger_app WITH CHECK (tenant_id = current_setting('app.tenant_id')::uuid);
CREATE POLICY outbox_worker ON outbox TO ledger_worker USING (true);
