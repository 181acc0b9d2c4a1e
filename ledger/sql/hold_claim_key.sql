-- $1 idempotency_key text, $2 request_hash text, $3 allocation_id uuid
-- No row: the key was used before.
INSERT INTO idempotency_keys (idempotency_key, request_hash, allocation_id)
VALUES ($1, $2, $3)
ON CONFLICT (tenant_id, idempotency_key) DO NOTHING
RETURNING allocation_id
