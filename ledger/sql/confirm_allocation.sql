-- $1 allocation_id uuid
-- The state guard: only a hold that has not ended becomes a booking.
UPDATE room_allocations
SET status = 'confirmed', hold_until = NULL, version = version + 1, changed_at = now()
WHERE allocation_id = $1 AND status = 'held' AND hold_until > now()
RETURNING room_type_id, arrival, departure
