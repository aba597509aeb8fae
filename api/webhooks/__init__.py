"""Sends webhook events."""
