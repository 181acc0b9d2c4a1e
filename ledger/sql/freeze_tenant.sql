-- $1 reason text. No row affected: it is frozen already.
INSERT INTO tenant_freezes (reason) VALUES ($1)
ON CONFLICT (tenant_id) DO NOTHING
