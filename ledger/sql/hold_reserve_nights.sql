-- $1 room_type_id uuid, $2 arrival date, $3 departure date
-- Fewer rows than nights: some night is sold out, closed or not in the calendar.
UPDATE room_type_inventory_daily SET held = held + 1
WHERE room_type_id = $1 AND night >= $2 AND night < $3
  AND NOT stop_sell AND held + confirmed < capacity + policy_extra
RETURNING night
