"""How boto3 talks to an S3 server here: its patience, its limits, its dialect."""

from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from batchchat.jobs.errors import ConfigError

_ADDRESSING = {True: "path", False: "virtual", None: "auto"}
"""`auto` is a path where there is an endpoint, and a host at AWS."""


def s3_client(endpoint: str | None, *, path_style: bool | None) -> Any:
    """Return a client, which threads may share.

    Raises:
        ConfigError: boto3's own settings, such as AWS_PROFILE, are wrong.

    """
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 6},
        connect_timeout=3,
        read_timeout=30,
        tcp_keepalive=True,
        max_pool_connections=64,
        s3={"addressing_style": _ADDRESSING[path_style]},
        # Many servers refuse the checksums that AWS has come to prefer; a signature
        # covers the bytes all the same.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        session = boto3.session.Session()
        return session.client("s3", endpoint_url=endpoint, config=config)
    except BotoCoreError as error:
        raise ConfigError(f"S3 can't be set up: {error}") from error
