"""Checks input files, divides them into shards, and estimates their cost."""
