-- $1 idempotency_key text
SELECT request_hash, allocation_id FROM idempotency_keys WHERE idempotency_key = $1
