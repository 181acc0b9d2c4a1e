-- $1 allocation_id uuid
-- The state guard: what was confirmed or released since the candidates were read stays as it is.
UPDATE room_allocations SET status = 'expired', hold_until = NULL, version = version + 1, changed_at = now()
WHERE allocation_id = $1 AND status = 'held' AND hold_until <= now()
RETURNING room_type_id, arrival, departure
