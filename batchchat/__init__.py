"""Batch chat completions on your own GPUs.

The four packages inside are links to the folders at the top of the repository.
"""
