"""The `batchchat` command: one verb a file; parse, one call, render."""
