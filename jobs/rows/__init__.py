"""Tables as input: rows that planning makes requests of."""
