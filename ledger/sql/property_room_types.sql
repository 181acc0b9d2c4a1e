-- $1 property_id uuid. In the order in which their nights are locked.
SELECT room_type_id FROM room_types WHERE property_id = $1 ORDER BY room_type_id
