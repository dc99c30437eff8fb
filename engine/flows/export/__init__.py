"""Closed days of the spend log as Parquet files with a manifest. Nothing here imports pyarrow before it is used."""
