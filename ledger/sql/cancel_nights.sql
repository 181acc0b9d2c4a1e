-- $1 room_type_id uuid, $2 arrival date, $3 departure date
UPDATE room_type_inventory_daily SET confirmed = confirmed - 1
WHERE room_type_id = $1 AND night >= $2 AND night < $3
