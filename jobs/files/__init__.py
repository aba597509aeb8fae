"""The File objects of a project."""
