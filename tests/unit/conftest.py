import pytest


@pytest.fixture
def no_jitter(monkeypatch):
    """Let retries wait for the longest time that their backoff allows."""
    monkeypatch.setattr("batchchat.jobs.backoff.random.uniform", lambda _, high: high)
