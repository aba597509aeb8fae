"""Result files as JSONL and Parquet: writing, reading, exporting and delivering."""
