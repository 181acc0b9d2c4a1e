-- $1 seconds bigint. The stays that take a room and changed lately: the overlap covers the longest transaction. Each comes with
-- its version, so that the auditor looks at a change once; a stay that ended can oversell nothing.
SELECT allocation_id, version, room_type_id, arrival, departure FROM room_allocations
WHERE changed_at > now() - $1 * interval '1 second' AND status IN ('held', 'confirmed')
