"""Runs batches on one machine, without services."""
