-- $1 room_type_id uuid, $2 from date, $3 to date
-- Counts allocations, not counters: whoever writes past the service is seen all the same.
SELECT d.night, d.capacity + d.policy_extra AS limit_rooms, count(*) AS sold
FROM room_type_inventory_daily d
JOIN room_allocations a ON a.room_type_id = d.room_type_id AND a.arrival > d.night - 30 AND a.arrival <= d.night AND a.departure > d.night
WHERE d.room_type_id = $1 AND d.night >= $2 AND d.night < $3
  AND a.status IN ('held', 'confirmed')
GROUP BY d.night, d.capacity, d.policy_extra
HAVING count(*) > d.capacity + d.policy_extra
ORDER BY d.night
