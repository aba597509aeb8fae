"""What some modules need, said once; it is looked for without loading it."""

from importlib.util import find_spec

import pytest


def engine() -> list[pytest.MarkDecorator]:
    """Return the marks of a module that starts engines; skip it where there is none."""
    if find_spec("vllm") is None:
        reason = "needs vLLM: install batchchat[cpu]"
        pytest.skip(reason, allow_module_level=True)
    return [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(900)]
