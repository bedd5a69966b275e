"""The programs the service is measured against: same routes, same table, same token check."""
