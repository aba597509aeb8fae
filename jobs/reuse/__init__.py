"""Answers of ended batches that later batches use again."""
