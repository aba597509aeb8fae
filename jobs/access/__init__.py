"""API keys, and create requests that were sent before."""
