-- $1 room_type_id uuid, $2 night date, $3 capacity integer, $4 policy_extra integer
INSERT INTO room_type_inventory_daily (room_type_id, night, capacity, policy_extra) VALUES ($1, $2, $3, $4)
