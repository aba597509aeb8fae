"""What an engine is to a shard: the protocol, sampling, conversations."""
