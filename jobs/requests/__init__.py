"""One line of the input: its schema, and how it is parsed and checked."""
