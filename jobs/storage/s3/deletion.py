"""Removes many objects of a bucket with one request."""

from collections.abc import Sequence
from typing import Any

MAX_DELETED = 250
"""Objects that one request names: S3 allows 1,000, but some servers remove them one by
one and would exceed the time limit of a response."""


def delete_objects(client: Any, bucket: str, names: Sequence[str]) -> Sequence[str]:
    """Remove objects; return the names of those that the server did not remove.

    Some servers refuse the whole request, which raises an error of boto3.
    """
    response = client.delete_objects(
        Bucket=bucket,
        Delete={"Objects": [{"Key": name} for name in names], "Quiet": True},
    )
    return [error["Key"] for error in response.get("Errors", ()) if "Key" in error]
