"""Delivers webhook events."""
