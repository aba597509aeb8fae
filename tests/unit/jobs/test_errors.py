"""Every error has a code, and the docstring shows all of them."""

import pytest

from batchchat.jobs import errors
from batchchat.jobs.errors import BatchchatError, RequestRefusedError

ALL = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, BatchchatError)
}


@pytest.mark.parametrize("name", ALL)
def test_the_docstring_shows_every_error_below_its_base(name):
    drawing = str(errors.__doc__).splitlines()
    (at,) = [index for index, text in enumerate(drawing) if f" {name} " in f"{text} "]
    base = ALL[name].__bases__[0].__name__
    assert base == "Exception" or any(base in text for text in drawing[:at])


@pytest.mark.parametrize("kind", ALL.values(), ids=ALL)
def test_every_error_has_a_message_and_a_code(kind):
    error = kind("what went wrong")
    assert str(error) == error.message == "what went wrong"
    assert error.code == kind.code
    assert isinstance(error.retryable, bool)


def test_a_refused_request_has_the_fields_of_its_error_line():
    error = RequestRefusedError("no", code="c", param="n", status_code=413)
    assert (error.code, error.param, error.status_code) == ("c", "n", 413)
    assert RequestRefusedError("no").code == "invalid_request"
