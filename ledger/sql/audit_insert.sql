-- $1 correlation_id text, $2 step text, $3 lever text, $4 target text, $5 principal text
-- No row: this step was taken before.
INSERT INTO audit_log (correlation_id, step, lever, target, principal) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant_id, correlation_id, step) DO NOTHING
RETURNING step
