"""The models that can be asked for: sources, templates, prices."""
