"""The engine as the shard runner sees it: protocol, sampling, conversations."""
