"""Runs one shard: feeds the engine, records answers, writes checkpoints."""
