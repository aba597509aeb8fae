"""Deletes ended batches with all that belongs to them."""
