SELECT now() - created_at AS age FROM outbox WHERE published_at IS NULL ORDER BY created_at LIMIT 1
