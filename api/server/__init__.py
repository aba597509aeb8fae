"""The HTTP application, the server that runs it, and its background work."""
