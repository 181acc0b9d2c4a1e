-- $1 room_id uuid, $2 room_type_id uuid, $3 number text
INSERT INTO rooms (room_id, room_type_id, number) VALUES ($1, $2, $3)
