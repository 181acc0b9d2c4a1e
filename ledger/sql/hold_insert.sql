-- $1 allocation_id uuid, $2 room_type_id uuid, $3 arrival date, $4 departure date, $5 channel text, $6 hold seconds bigint
-- The hold ends by the database's clock, on whatever host the service runs.
INSERT INTO room_allocations (allocation_id, room_type_id, arrival, departure, channel, hold_until)
VALUES ($1, $2, $3, $4, $5, now() + $6 * interval '1 second')
RETURNING hold_until
