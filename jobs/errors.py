"""Every error of the project, each with a code, a hint and whether to retry.

::

    BatchchatError
    ├─ UsageError              what was asked for can't be done as asked
    │  ├─ InputFileError       the input file can't be read as one
    │  ├─ ConfigError          a setting or the model catalog is wrong
    │  ├─ ModelNotFoundError   no such model here
    │  ├─ NotFoundError        no such batch or file
    │  ├─ OutputError          the results can't be written where they are wanted
    │  └─ ConflictError        the batch's state forbids it
    ├─ RequestRefusedError     one request can't be answered; becomes its error line
    ├─ StorageError            the bucket failed; worth another try
    │  ├─ ObjectMissingError   no object under that key
    │  ├─ CorruptObjectError   an object is not what was written
    │  ├─ NewerFormatError     a newer version of batchchat wrote the object
    │  └─ StorageFullError     no room left
    ├─ BrokerError             Redis failed; worth another try
    ├─ ServerError             the API's server failed; worth another try
    └─ EngineError             the engine failed
       ├─ EngineStartError     it never came up
       └─ EngineDeadError      it died; worth another engine

`code` is part of the API, `hint` suggests what to do, and `retryable` states whether
a retry may succeed. The command line and the API map classes, never texts.
"""


class BatchchatError(Exception):
    """An expected error."""

    code = "error"
    retryable = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """Create the error: `message` is what, where and why; `hint` is what to do."""
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(BatchchatError):
    """What was asked for can't be done as it was asked."""

    code = "invalid_request"


class InputFileError(UsageError):
    """The input file can't be read, or is no file of requests at all."""

    code = "invalid_file"


class ConfigError(UsageError):
    """A setting or the model catalog is wrong."""

    code = "invalid_config"


class ModelNotFoundError(UsageError):
    """No model of that name is in the catalog, on this disk or in the cache."""

    code = "model_not_found"


class NotFoundError(UsageError):
    """No batch or file has that id in this project."""

    code = "not_found"


class OutputError(UsageError):
    """The results can't be written to the place that was asked for."""

    code = "invalid_output"


class ConflictError(UsageError):
    """The state of the batch forbids what was asked."""

    code = "conflict"


class RequestRefusedError(BatchchatError):
    """One request can't be answered; it becomes its own error line."""

    code = "invalid_request"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status_code: int = 400,
    ) -> None:
        """`param` names the field, such as `body.messages`."""
        super().__init__(message)
        self.code = code or type(self).code
        self.param = param
        self.status_code = status_code


class StorageError(BatchchatError):
    """The storage failed; the same call may succeed later."""

    code = "storage_error"
    retryable = True


class ObjectMissingError(StorageError):
    """There is no object under that key."""

    code = "object_missing"
    retryable = False


class CorruptObjectError(StorageError):
    """An object doesn't hold what was written to it."""

    code = "corrupt_object"
    retryable = False


class NewerFormatError(StorageError):
    """A newer version of batchchat wrote an object; this one must leave it alone."""

    code = "newer_format"
    retryable = False


class StorageFullError(StorageError):
    """The storage has no room left; freed, the same call succeeds."""

    code = "storage_full"


class BrokerError(BatchchatError):
    """Redis failed; it holds nothing that could be lost."""

    code = "broker_error"
    retryable = True


class ServerError(BatchchatError):
    """The server of the API can't be reached, or could not answer."""

    code = "server_error"
    retryable = True

    def __init__(
        self, message: str, *, hint: str | None = None, retry_after: float = 0.0
    ) -> None:
        """`after` is in how many seconds the server wants to be asked again."""
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class EngineError(BatchchatError):
    """The engine failed."""

    code = "engine_error"


class EngineStartError(EngineError):
    """The engine never came up."""

    code = "engine_start_failed"


class EngineDeadError(EngineError):
    """The engine died under its requests; a new one may finish them."""

    code = "engine_dead"
    retryable = True
