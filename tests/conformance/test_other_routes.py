"""Models, webhooks and unsupported routes with OpenAI's Python clients."""

from functools import partial

import pytest
from openai import BadRequestError, NotFoundError

pytestmark = pytest.mark.engine


@pytest.fixture
def webhook(api):
    created = partial(
        api.client.webhooks.create,
        name="mine",
        url="https://example.com/hook",
        event_types=["batch.completed"],
    )
    return api(created)


def test_the_catalog_is_listed(api):
    models = api.all(api.client.models.list())
    assert "demo" in [model.id for model in models]
    assert {model.object for model in models} == {"model"}


def test_a_model_can_be_retrieved(api):
    assert api(api.client.models.retrieve, "demo").id == "demo"


@pytest.mark.parametrize("name", ["gpt-unknown", "org/name", "/etc", "~"])
def test_an_unknown_model_is_not_found(api, name):
    with pytest.raises(NotFoundError) as caught:
        api(api.client.models.retrieve, name)
    assert caught.value.code == "model_not_found"


def test_online_chat_completions_are_not_served(api):
    message = {"role": "user", "content": "hi"}
    asked = partial(
        api.client.chat.completions.create, model="demo", messages=[message]
    )
    with pytest.raises(NotFoundError) as caught:
        api(asked)
    assert caught.value.code == "unknown_url"


def test_every_response_has_a_request_id(api):
    assert api(api.client.models.retrieve, "demo")._request_id.startswith("req_")
    with pytest.raises(NotFoundError) as caught:
        api(api.client.models.retrieve, "unknown")
    assert (caught.value.request_id or "").startswith("req_")


def test_a_webhook_secret_is_returned_only_on_creation(api, webhook):
    again = api(api.client.webhooks.retrieve, webhook.id)
    assert webhook.signing_secret.startswith("whsec_")
    assert not hasattr(again, "signing_secret")
    assert again.url == "https://example.com/hook"


def test_webhooks_are_listed(api, webhook):
    assert webhook.id in [one.id for one in api.all(api.client.webhooks.list())]


def test_a_webhook_can_be_updated(api, webhook):
    changed = api(api.client.webhooks.update, webhook.id, name="yours")
    assert (changed.name, changed.url) == ("yours", webhook.url)


def test_a_webhook_secret_can_be_rotated(api, webhook):
    rotated = api(api.client.webhooks.rotate_secret, webhook.id)
    assert rotated.signing_secret != webhook.signing_secret


def test_a_deleted_webhook_is_not_found(api, webhook):
    assert api(api.client.webhooks.delete, webhook.id).deleted is True
    with pytest.raises(NotFoundError):
        api(api.client.webhooks.retrieve, webhook.id)


def test_the_event_types_are_listed(api):
    types = api(api.client.webhooks.event_types.list).data
    assert {"batch.completed", "batch.failed", "batch.expired"} <= set(types)


@pytest.mark.parametrize(
    "address",
    ["http://example.com/", "ftp://example.com/", "https:///x", "https://a@b/"],
)
def test_a_webhook_requires_a_valid_url(api, address):
    created = partial(
        api.client.webhooks.create,
        name="mine",
        url=address,
        event_types=["batch.completed"],
    )
    with pytest.raises(BadRequestError) as caught:
        api(created)
    assert caught.value.param == "url"


def test_a_test_event_is_not_sent_to_a_private_address(api):
    created = partial(
        api.client.webhooks.create,
        name="in",
        url="https://127.0.0.1/",
        event_types=["batch.completed"],
    )
    inside = api(created)
    with pytest.raises(BadRequestError, match="must have public addresses only"):
        api(api.client.webhooks.test, inside.id, event_type="batch.completed")
