-- $1 property_id uuid, $2 name text
INSERT INTO properties (property_id, name) VALUES ($1, $2)
