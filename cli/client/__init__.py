"""The HTTP client of a batchchat server."""
