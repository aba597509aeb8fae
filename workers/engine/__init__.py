"""vLLM and its in-process substitute, driven one step at a time."""
