SELECT now() - hold_until AS late FROM room_allocations WHERE status = 'held' AND hold_until <= now() ORDER BY hold_until LIMIT 1
