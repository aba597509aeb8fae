"""Output and error files, as JSONL and Parquet, and what reads them."""
