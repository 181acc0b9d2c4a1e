-- $1 allocation_id uuid. No row: somebody else holds it, a confirmation most likely.
SELECT allocation_id FROM room_allocations WHERE allocation_id = $1 FOR UPDATE SKIP LOCKED
