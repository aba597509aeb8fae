"""One line of the input: its schema, parsing and validation."""
