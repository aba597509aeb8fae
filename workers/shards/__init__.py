"""The worker: hosts the shards that its engine runs."""
