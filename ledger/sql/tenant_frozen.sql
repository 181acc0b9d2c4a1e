-- A row: nothing of this tenant may be written now. The row policy chooses the tenant.
SELECT reason FROM tenant_freezes
