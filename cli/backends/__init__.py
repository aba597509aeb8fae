"""Where commands find batches: this process, a cluster, or a server."""
