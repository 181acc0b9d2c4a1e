-- $1 room_type_id uuid, $2 arrival date, $3 departure date
SELECT r.room_id FROM rooms r
WHERE r.room_type_id = $1 AND NOT EXISTS (
    SELECT 1 FROM room_allocations a
    WHERE a.room_type_id = $1 AND a.arrival > $2::date - 30 AND a.arrival < $3 AND a.departure > $2
      AND a.status IN ('held', 'confirmed') AND a.room_id = r.room_id
)
ORDER BY r.number
LIMIT 5
