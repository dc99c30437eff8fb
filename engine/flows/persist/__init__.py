"""The journal becomes the spend log: `persister` runs one transaction, `loop` repeats it, `ingest` reads entries,
`posting` writes their rows.
"""
