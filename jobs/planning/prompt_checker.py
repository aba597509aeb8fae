"""Checks the prompts of a file's requests in the way that an engine prepares them."""

from sys import maxsize

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.engine.conversation import turns_with_empty_answers
from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.internal_errors import fail_request_on_bug
from batchchat.jobs.prompts.chat_template import LIMIT_EXCEEDED
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.prompts.renderer import PromptRenderer
from batchchat.jobs.requests.parser import Parser
from batchchat.jobs.requests.problems import Problem
from batchchat.jobs.requests.schema import Request


class PromptChecker:
    """Renders the prompts of requests, and tokenizes those that may be too long.

    It checks every request, or only until one has passed: then the batch needs an
    engine, which checks the others. After `max_slow` prompts that took too long to
    render, it checks no more, so that a file cannot occupy a planner for hours.
    """

    def __init__(
        self,
        parser: Parser,
        renderers: RendererRegistry,
        model: Model | None = None,
        *,
        every: bool,
        max_slow: int = maxsize,
    ) -> None:
        """Check for `model`, or else for that of `parser` once the parser knows it."""
        self.max_unchecked_bytes = 0
        self._parser = parser
        self._model = model
        self._renderers = renderers
        self._every = every
        self._slow_left = max_slow

    def __call__(self, request: Request) -> Problem | None:
        """Return the problem of a prompt, if any; see `scanner.PromptCheck`."""
        if self.max_unchecked_bytes:
            return None
        model = self._model or str(self._parser.model)
        renderer = self._renderers.get_if_local(model)
        problem = _problem_of(renderer, request) if renderer else None
        self._slow_left -= problem is not None and problem.code == LIMIT_EXCEEDED
        if not (renderer and (self._every or problem) and self._slow_left):
            self.max_unchecked_bytes = maxsize
        return problem


def _problem_of(renderer: PromptRenderer, request: Request) -> Problem | None:
    for conversation in turns_with_empty_answers(request):
        try:
            with fail_request_on_bug(f"line {request.line}"):
                renderer.check(conversation.next_request)
        except RequestRefusedError as error:
            found = conversation.locate_error(error)
            code, message, param = found.code, found.message, found.param
            return Problem(code, request.line, message, param, in_body=True)
    return None
