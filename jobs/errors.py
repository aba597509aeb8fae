"""All errors of the project, each with a code, a hint and whether to retry.

::

    BatchchatError
    ├─ UsageError              the request of the user is invalid
    │  ├─ InputFileError       the input file is missing or unreadable
    │  │  └─ InputTooLargeError  it is larger than the settings allow
    │  ├─ ConfigError          a setting or the model catalog is invalid
    │  ├─ ModelNotFoundError   unknown model
    │  ├─ NotFoundError        unknown batch, file, key or endpoint
    │  ├─ LimitExceededError   the project has reached one of its limits
   │  ├─ OutputError          the results can't be written to the output
    │  └─ ConflictError        the state of the batch does not allow it
    ├─ RequestRefusedError     one request can't be answered; it gets an error line
    ├─ StorageError            the storage failed (retryable)
    │  ├─ ObjectMissingError   there is no such object
    │  ├─ CorruptObjectError   an object does not hold what was written
    │  ├─ NewerFormatError     a newer version of batchchat wrote the object
    │  ├─ StorageAccessError   this process may not use the storage: keys, clock, bucket
    │  └─ StorageFullError     the storage is full (retryable)
    ├─ BrokerError             Redis failed (retryable)
    ├─ ServerError             the API server failed (retryable)
    └─ EngineError             the engine failed
       ├─ EngineStartError     it did not start
       └─ EngineDeadError      it died (retryable with a new engine)

`code` is part of the API, `hint` suggests what to do, and `retryable` states whether
a retry may succeed. The command line and the API map classes, never texts.
"""


class BatchchatError(Exception):
    """An expected error."""

    code = "error"
    retryable = False
    default_hint: str | None = None
    """What to do if an error has no hint of its own; most usage errors need one."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """Create the error: `message` is what, where and why; `hint` is what to do."""
        super().__init__(message)
        self.message = message
        self.hint = hint or self.default_hint


class UsageError(BatchchatError):
    """The request of the user is invalid or can't be fulfilled."""

    code = "invalid_request"


class InputFileError(UsageError):
    """The input file can't be read, or is not a file of requests."""

    code = "invalid_file"


class InputTooLargeError(InputFileError):
    """The input file is larger than the settings allow."""

    code = "file_too_large"


class ConfigError(UsageError):
    """A setting or the model catalog is invalid."""

    code = "invalid_config"


class ModelNotFoundError(UsageError):
    """No model of that name is in the catalog, on this disk or in the cache."""

    code = "model_not_found"


class NotFoundError(UsageError):
    """The project has no batch, file, key or endpoint with that id."""

    code = "not_found"


class LimitExceededError(UsageError):
    """The project has reached one of the limits that the operator has set for it."""

    code = "limit_exceeded"
    default_hint = "the operator of the server sets the limits of projects"

    def __init__(self, message: str, *, limit: str = "") -> None:
        """`limit` is the name of the limit in the settings."""
        super().__init__(message)
        self.limit = limit


class OutputError(UsageError):
    """The results can't be written to the requested output."""

    code = "invalid_output"


class ConflictError(UsageError):
    """The state of the batch or file does not allow the request."""

    code = "conflict"


class RequestRefusedError(BatchchatError):
    """One request can't be answered; it gets an error line."""

    code = "invalid_request"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status_code: int = 400,
    ) -> None:
        """`param` is the invalid field of the body, such as `messages[2].content`."""
        super().__init__(message)
        self.code = code or type(self).code
        self.param = param
        self.status_code = status_code


class StorageError(BatchchatError):
    """The storage failed; the same call may succeed later."""

    code = "storage_error"
    retryable = True
    default_hint = "check the storage with `batchchat doctor`"


class ObjectMissingError(StorageError):
    """There is no object with that key."""

    code = "object_missing"
    retryable = False


class CorruptObjectError(StorageError):
    """An object does not hold what was written to it."""

    code = "corrupt_object"
    retryable = False


class NewerFormatError(StorageError):
    """A newer version of batchchat wrote an object; this one must leave it alone."""

    code = "newer_format"
    retryable = False


class StorageAccessError(StorageError):
    """The storage denies the call until an operator changes something.

    Examples are invalid or expired keys, missing permissions, a wrong clock, or a
    bucket that does not exist. All other errors of a storage either pass by themselves
    or concern a single object.
    """

    code = "storage_access_denied"
    retryable = False


class StorageFullError(StorageError):
    """The storage is full; the same call succeeds once there is space."""

    code = "storage_full"


class BrokerError(BatchchatError):
    """Redis failed; it holds no data that must survive."""

    code = "broker_error"
    retryable = True
    default_hint = "check Redis with `batchchat doctor`"


class ServerError(BatchchatError):
    """The API server is unreachable, or failed to respond."""

    code = "server_error"
    retryable = True
    default_hint = "try again in a moment; if it fails again, check the server's log"

    def __init__(
        self, message: str, *, hint: str | None = None, retry_after: float = 0.0
    ) -> None:
        """`retry_after` is how many seconds the server asks clients to wait."""
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class EngineError(BatchchatError):
    """The engine failed."""

    code = "engine_error"
    default_hint = "see the engine's log, which `batchchat logs ID` prints"


class EngineStartError(EngineError):
    """The engine did not start."""

    code = "engine_start_failed"


class EngineDeadError(EngineError):
    """The engine died with requests in it; a new engine may finish them."""

    code = "engine_dead"
    retryable = True
    reason = ""
    """Why it died, in one line."""
