"""Webhook endpoints, events, and the outbox of events to deliver."""
