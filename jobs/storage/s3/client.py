"""The boto3 client: timeouts, retries, connections and compatibility settings."""

from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from batchchat.jobs.errors import ConfigError

_ADDRESSING = {True: "path", False: "virtual", None: "auto"}
"""`auto` uses paths with an endpoint, and host names at AWS."""


def s3_client(endpoint: str | None, *, path_style: bool | None) -> Any:
    """Return a client, which is thread-safe.

    Raises:
        ConfigError: boto3's own settings, such as AWS_PROFILE, are invalid.

    """
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 6},
        connect_timeout=3,
        read_timeout=30,
        tcp_keepalive=True,
        max_pool_connections=64,
        s3={"addressing_style": _ADDRESSING[path_style]},
        # Many servers reject the checksums that AWS sends by default. The signature
        # protects the bytes anyway.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        session = boto3.session.Session()
        return session.client("s3", endpoint_url=endpoint, config=config)
    except BotoCoreError as error:
        raise ConfigError(
            f"invalid S3 settings: {error}",
            hint="check BATCHCHAT_S3_ENDPOINT and the variables AWS_*",
        ) from error
