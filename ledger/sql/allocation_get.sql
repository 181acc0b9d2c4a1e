-- $1 allocation_id uuid
SELECT allocation_id, room_type_id, room_id, arrival, departure, channel, status, hold_until
FROM room_allocations WHERE allocation_id = $1
