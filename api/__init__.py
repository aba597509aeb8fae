"""The REST API: OpenAI's Files and Batches over the objects of `jobs`."""
