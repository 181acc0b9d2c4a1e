-- Roles of the cluster, created once by its administrator before the first migration.
-- The service owns nothing and bypasses nothing: `ledger_app` serves tenants, one at a time; `ledger_worker` runs the jobs
-- that look across tenants and may touch only what its policies name. `ledger_owner` owns the schema and runs migrations.
CREATE ROLE ledger_owner LOGIN NOSUPERUSER NOBYPASSRLS;
CREATE ROLE ledger_app LOGIN NOSUPERUSER NOBYPASSRLS;
CREATE ROLE ledger_worker LOGIN NOSUPERUSER NOBYPASSRLS;
