-- $1 outbox_id bigint
UPDATE outbox SET published_at = now() WHERE outbox_id = $1 AND published_at IS NULL
