"""The journal becomes the spend log: `persister` is one transaction, `loop` goes on with it, `ingest` reads entries, `posting` writes their rows."""
