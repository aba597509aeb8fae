"""Runs one shard: submits requests, records answers, writes checkpoints."""
