-- $1 ordering_key uuid, $2 event_type text, $3 payload text
INSERT INTO outbox (ordering_key, event_type, payload) VALUES ($1, $2, $3)
