-- $1 limit bigint. Across tenants; only ids, each is locked and re-checked in a transaction of its own.
SELECT tenant_id, allocation_id, now() - hold_until AS late FROM room_allocations
WHERE status = 'held' AND hold_until <= now()
ORDER BY hold_until
LIMIT $1
