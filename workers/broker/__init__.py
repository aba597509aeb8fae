"""Redis and Celery: messages, leases, live status."""
