-- $1 seconds bigint. The stays changed lately: the overlap covers the longest transaction.
SELECT DISTINCT room_type_id, arrival, departure FROM room_allocations
WHERE changed_at > now() - $1 * interval '1 second'
