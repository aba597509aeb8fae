"""What some tests need, said once; it is looked for without loading it."""

from importlib.util import find_spec

import pytest

ENGINE = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        find_spec("vllm") is None, reason="needs vLLM: install batchchat[cpu]"
    ),
]
