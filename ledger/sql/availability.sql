-- $1 room_type_id uuid, $2 arrival date, $3 departure date
SELECT night, capacity + policy_extra - held - confirmed AS available, stop_sell
FROM room_type_inventory_daily
WHERE room_type_id = $1 AND night >= $2 AND night < $3
ORDER BY night
