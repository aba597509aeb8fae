"""The lines of the output and error files, as read by OpenAI's clients."""

import json

import pytest

from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.execution import output_lines


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (500, "server_error"), (503, "server_error")],
)
def test_the_type_of_an_error_follows_from_its_status(status, kind):
    error = RequestRefusedError("m", code="c", param="p", status_code=status)
    line = json.loads(output_lines.refused("batch_req_1", "a", error))
    assert line["response"]["status_code"] == status
    assert line["response"]["body"]["error"] == {
        "message": "m",
        "type": kind,
        "param": "p",
        "code": "c",
    }
