-- $1 lock bigint. Held until the session ends.
SELECT pg_try_advisory_lock($1) AS leader
