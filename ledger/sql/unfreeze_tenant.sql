DELETE FROM tenant_freezes WHERE tenant_id = current_setting('app.tenant_id')::uuid
