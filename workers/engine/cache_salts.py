"""Salts that keep the prefix caches of projects apart.

An engine computes the prefix of a prompt only once, and an answer's `cached_tokens`
reports how much of its prompt was known. Without a salt, a project could submit a
guess and read there whether another project has sent a prompt with the same beginning.
"""

import secrets
from hashlib import blake2b


class CacheSalts:
    """The salts of one engine.

    A salt is derived from the name of the project with a secret that exists only in
    this process, as the cache does. So no request can name the salt of another project,
    and a project keeps its salt as long as the cache exists.
    """

    def __init__(self) -> None:
        """Draw a new secret."""
        self._secret = secrets.token_bytes(32)

    def get(self, project: str) -> str:
        """Return the salt of a project."""
        return blake2b(project.encode(), key=self._secret, digest_size=16).hexdigest()
