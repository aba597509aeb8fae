"""Uploads a dataset to the Hugging Face Hub.

The token is that of `HF_TOKEN` or of `hf auth login`; it is neither stored nor logged.
"""

import re
from pathlib import Path

from batchchat.jobs.errors import ConfigError, ServerError, UsageError

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_LOG_IN = "set HF_TOKEN to a token with write access, or run `hf auth login`"
_DENIED = {401, 403}
_SERVER_ERRORS = range(500, 600)
_HTTP_LIBRARIES = ("httpx", "httpcore")
"""The libraries whose errors huggingface_hub passes on; versions have other names."""


def check_repository(name: str) -> None:
    """Check the name of a repository, and that there is a token to upload with.

    Raises:
        UsageError: the name is not `org/name`.
        ConfigError: there is no token.

    """
    from huggingface_hub import get_token

    if not _REPOSITORY.fullmatch(name) or "--" in name or ".." in name:
        raise UsageError(
            f"`{name[:200]}` is not the name of a repository",
            hint="name it with its owner: `--push org/name`",
        )
    if not get_token():
        raise ConfigError("no token for the Hugging Face Hub", hint=_LOG_IN)


def push(folder: Path, name: str, message: str) -> str:
    """Upload a folder to the dataset `name`; return its URL.

    A repository that does not exist is created as a private one. Uploading the same
    files again is harmless.

    Raises:
        ConfigError: the Hub does not accept the token.
        UsageError: the Hub does not accept the upload.
        ServerError: the Hub can't be reached or failed.

    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    api = HfApi()
    try:
        url = api.create_repo(name, repo_type="dataset", private=True, exist_ok=True)
        api.upload_folder(
            folder_path=folder,
            repo_id=name,
            repo_type="dataset",
            commit_message=message,
            delete_patterns="data/train-*.parquet",
        )
    except HfHubHTTPError as error:
        raise _refusal(name, error.response.status_code, str(error)) from None
    except (OSError, RuntimeError) as error:  # no connection, or none allowed
        raise _unreachable(api.endpoint, error) from None
    except Exception as error:
        if not type(error).__module__.startswith(_HTTP_LIBRARIES):
            raise
        raise _unreachable(api.endpoint, error) from None
    return str(url)


def _unreachable(endpoint: str, error: Exception) -> ServerError:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return ServerError(
        f"can't reach the Hugging Face Hub at {endpoint}: {reason}",
        hint="the dataset is complete on this machine; try again when there is a"
        " connection",
    )


def _refusal(name: str, status: int, text: str) -> UsageError | ServerError:
    """Return the error for a response of the Hub."""
    reason = " ".join(text.split())[:300]
    message = f"the Hugging Face Hub refused to write `{name}`: {reason}"
    if status in _DENIED:
        return ConfigError(message, hint=_LOG_IN)
    if status in _SERVER_ERRORS:
        return ServerError(message)
    return UsageError(message, hint="check the name of the repository in `--push`")
