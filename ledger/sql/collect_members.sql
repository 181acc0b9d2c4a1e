-- Who has series of their own in the metrics: tenants and properties that have something to sell.
SELECT tenant_id, property_id FROM room_types GROUP BY tenant_id, property_id
