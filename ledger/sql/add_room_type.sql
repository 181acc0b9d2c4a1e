-- $1 room_type_id uuid, $2 property_id uuid, $3 name text
INSERT INTO room_types (room_type_id, property_id, name) VALUES ($1, $2, $3)
