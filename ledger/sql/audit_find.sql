-- $1 correlation_id text. The tenant is named for the sessions of jobs too; at most two rows, `done` first.
SELECT step, lever, target, principal, now() - at AS age FROM audit_log
WHERE tenant_id = current_setting('app.tenant_id')::uuid AND correlation_id = $1
ORDER BY step
