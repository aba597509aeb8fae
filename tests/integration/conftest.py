"""One demo engine on vLLM, for all tests that need one in their own process."""

import pytest
from msgspec import structs

from batchchat.jobs.catalog.catalog import load_catalog
from batchchat.jobs.catalog.template_source import template_text
from tests.integration.chat_batches import Batches

EXTRA_ARGUMENTS = "{{ reasoning_effort or '' }}{{ thinking or '' }}"
"""Template code that uses arguments which the demo's own template ignores."""


@pytest.fixture(scope="session")
def demo():
    """The demo model, its template extended."""
    template = f"{template_text('demo')}{EXTRA_ARGUMENTS}"
    return structs.replace(load_catalog().find("demo"), chat_template=template)


@pytest.fixture(scope="session")
def batches(demo, tmp_path_factory):
    """Batches on the demo engine."""
    from batchchat.workers.engine.vllm_startup import start_vllm

    models = tmp_path_factory.mktemp("models")
    engine = start_vllm(demo, models, in_subprocess=False, log_level="error")
    yield Batches(engine, demo, models, tmp_path_factory.mktemp("locks"))
    engine.close()


@pytest.fixture
def engine(batches):
    """The demo engine."""
    return batches.engine
