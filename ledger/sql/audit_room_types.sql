-- For a full pass.
SELECT room_type_id FROM room_types ORDER BY room_type_id
