-- $1 room_type_id uuid, $2 from date, $3 to date, $4 stop_sell boolean
UPDATE room_type_inventory_daily SET stop_sell = $4
WHERE room_type_id = $1 AND night >= $2 AND night < $3 AND stop_sell <> $4
