"""What people agree on reaches Redis, and what follows from it is written: `manage`, `publish`, `status`, `check`, `restored`."""
