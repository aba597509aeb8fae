"""Rate limits of projects, and the headers about them."""

import pytest
from openai import OpenAI, RateLimitError

from batchchat.api.http.errors import ApiError
from batchchat.api.http.rate_limit import RateLimiter
from tests.api.api_server import error_of


def list_models(served, **headers):
    return served.client.get("/v1/models", headers=headers)


def openai_client(served):
    return OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


def rate_limit_of(headers):
    """Return the limit and the remaining requests."""
    return [headers[f"x-ratelimit-{name}-requests"] for name in ("limit", "remaining")]


def test_a_rate_limited_response_has_retry_after(serve):
    served = serve(requests_per_minute=3)
    responses = [list_models(served) for _ in range(4)]
    assert [response.status_code for response in responses] == [200, 200, 200, 429]
    assert error_of(responses[-1])["type"] == "rate_limit_error"
    assert 1 <= int(responses[-1].headers["retry-after"]) <= 60


def test_a_request_after_retry_after_is_accepted():
    now = 0.0
    rate_limiter = RateLimiter(25, lambda: now)
    for _ in range(25):
        rate_limiter.count("p")
    with pytest.raises(ApiError) as raised:
        rate_limiter.count("p")
    now += int(raised.value.headers["retry-after"])
    rate_limiter.count("p")


def test_the_reset_time_is_when_all_requests_are_available_again():
    now = 0.0
    rate_limiter = RateLimiter(2, lambda: now)
    reset = "x-ratelimit-reset-requests"
    assert rate_limiter.count("p")[reset] == "30s"
    assert rate_limiter.count("p")[reset] == "60s"
    now += 45
    assert rate_limiter.count("p")[reset] == "45s"


def test_rate_limits_are_separate_between_projects(serve):
    served = serve(loopback_only=False, requests_per_minute=1)
    first, second = served.key("a"), served.key("b")
    assert list_models(served, **first).status_code == 200
    assert list_models(served, **first).status_code == 429
    assert list_models(served, **second).status_code == 200


def test_openais_client_reads_the_rate_limit_headers(serve):
    served = serve(requests_per_minute=2)
    with openai_client(served) as client:
        first, second = (client.models.with_raw_response.list() for _ in range(2))
        with pytest.raises(RateLimitError) as raised:
            client.models.list()
    assert rate_limit_of(first.headers) == ["2", "1"]
    assert rate_limit_of(second.headers) == ["2", "0"]
    assert rate_limit_of(raised.value.response.headers) == ["2", "0"]


def test_error_responses_have_the_rate_limit_headers(serve):
    served = serve(requests_per_minute=2)
    response = served.client.get("/v1/models/unknown")
    assert response.status_code == 404
    assert rate_limit_of(response.headers) == ["2", "1"]


def test_without_a_limit_there_are_no_rate_limit_headers(served):
    assert not [name for name in list_models(served).headers if "ratelimit" in name]
