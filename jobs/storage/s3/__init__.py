"""The bucket as an S3-compatible store."""
