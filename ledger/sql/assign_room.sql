-- $1 allocation_id uuid, $2 room_id uuid
UPDATE room_allocations SET room_id = $2, version = version + 1, changed_at = now()
WHERE allocation_id = $1 AND status = 'confirmed' AND room_id IS NULL
