"""Renders conversations into prompts with chat templates."""
