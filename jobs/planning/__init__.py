"""Checks an input file, cuts it into shards, estimates its cost."""
