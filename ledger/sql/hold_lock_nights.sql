-- $1 room_type_id uuid, $2 arrival date, $3 departure date
-- The canonical lock order of a stay: night by night.
SELECT night FROM room_type_inventory_daily
WHERE room_type_id = $1 AND night >= $2 AND night < $3
ORDER BY night
FOR UPDATE
