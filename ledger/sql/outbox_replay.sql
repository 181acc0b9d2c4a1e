-- $1 outbox_id bigint
-- What was published is published again, under the same id.
UPDATE outbox SET published_at = NULL
WHERE outbox_id = $1 AND tenant_id = current_setting('app.tenant_id')::uuid AND published_at IS NOT NULL
