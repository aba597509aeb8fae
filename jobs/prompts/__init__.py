"""Renders conversations into prompts with the models' chat templates."""
