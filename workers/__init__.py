"""Where shards run: the engine, and the dispatchers that feed it."""
