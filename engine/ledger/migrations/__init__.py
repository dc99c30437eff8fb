"""The ledger's schema, step by step, run by `engine.ledger.migrate`."""
