-- $1 allocation_id uuid
UPDATE room_allocations SET status = 'released', hold_until = NULL, version = version + 1, changed_at = now()
WHERE allocation_id = $1 AND status = 'held'
RETURNING room_type_id, arrival, departure
