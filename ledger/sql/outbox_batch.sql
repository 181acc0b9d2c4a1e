-- $1 limit bigint
SELECT outbox_id, tenant_id, ordering_key, event_type, payload, created_at, now() - created_at AS age FROM outbox
WHERE published_at IS NULL
ORDER BY outbox_id
LIMIT $1
