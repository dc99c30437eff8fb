"""How the catalog reaches Redis, and how statuses are written: `manage`, `publish`, `status`, `check`, `restored`."""
