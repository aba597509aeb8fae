"""Renders a template within limits of time and memory.

Templates come with models, and a conversation can make a good one slow as well. Without
limits, one request could occupy a planner or a worker forever.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from jinja2 import TemplateError, meta, nodes

from batchchat.jobs.errors import ConfigError
from batchchat.jobs.prompts.size_limit import SizeLimit, SizeLimitError
from batchchat.jobs.prompts.template_environment import TemplateEnvironment
from batchchat.jobs.prompts.time_limit import TimeLimitError, limit_cpu_time

R = TypeVar("R")

HINT = "set another `chat_template` for the model in the catalog"


class RenderLimits(NamedTuple):
    """The limits of one rendering, and of compiling a template."""

    cpu_seconds: float = 5.0
    min_cpu_seconds: float = 0.25
    """Each rendering that takes too long halves the time of later ones, down to this.

    Otherwise a batch could use the full time for each of its requests.
    """

    value_bytes: int = 32 * 1024 * 1024
    """Of the prompt, and of any text or list in between."""

    total_bytes: int = 512 * 1024 * 1024
    """Of all texts and lists together."""

    source_characters: int = 256 * 1024


class TemplateLimitError(TemplateError):
    """A rendering exceeds a limit."""


class LimitedTemplate:
    """A compiled template.

    `tree` is its syntax tree, and `variables` are the names that it reads and does not
    set.
    """

    input_name = "the conversation"
    """What the template renders, in errors."""

    hint = HINT
    environment_class = TemplateEnvironment

    def __init__(self, source: str, label: str, limits: RenderLimits) -> None:
        """Compile `source`; errors call it `label`.

        Raises:
            ConfigError: `source` is not a valid template, or it is too large.

        """
        if len(source) > limits.source_characters:
            raise ConfigError(
                f"{label} has {len(source):,} characters, and"
                f" {limits.source_characters:,} are allowed",
                hint=self.hint,
            )
        self._label = label
        self._cpu_seconds = limits.cpu_seconds
        self._min_cpu_seconds = limits.min_cpu_seconds
        self._size = SizeLimit(limits.value_bytes, limits.total_bytes)
        self.tree = nodes.Template([])
        self.variables: set[str] = set()
        try:
            limit_cpu_time(limits.cpu_seconds, lambda: self._compile(source))
        except TimeLimitError:
            raise ConfigError(
                f"{label} takes more than {limits.cpu_seconds:g}s to compile",
                hint=self.hint,
            ) from None
        except (RecursionError, MemoryError):  # Python's compiler raises both
            raise ConfigError(f"{label} is nested too deeply", hint=self.hint) from None
        except Exception as error:  # noqa: BLE001 - the sandbox and Python raise many
            raise ConfigError(f"{label} is invalid: {error}", hint=self.hint) from None

    def _compile(self, source: str) -> None:
        self._size.restart()
        environment = self.environment_class(self._size)
        tree = self.tree = environment.parse(source)
        self.variables = meta.find_undeclared_variables(tree) - _namespaces(tree)
        self._template = environment.from_string(tree)
        # Jinja's own chain of maps is slow to copy, which happens for each prompt.
        self._globals = {**self._template.globals}

    def render(self, variables: dict[str, Any]) -> str:
        """Return the text.

        Raises:
            TemplateLimitError: it takes too much time or memory.
            Exception: what the template raises.

        """
        join = self._template.environment.concat
        return self._limited(lambda: join(self._pieces(variables)))

    def _pieces(self, variables: dict[str, Any]) -> Iterable[Any]:
        """Return the values of the output, which joined are its text."""
        template = self._template
        # `Template.new_context` does the same, in half a microsecond more.
        context = template.environment.context_class(
            template.environment,
            {**self._globals, **variables},
            template.name,
            template.blocks,
        )
        return template.root_render_func(context)

    def _limited(self, work: Callable[[], R]) -> R:
        """Return the result of `work` within the limits of one rendering."""
        self._size.restart()
        seconds = self._cpu_seconds
        try:
            return limit_cpu_time(seconds, work)
        except TimeLimitError:
            self._cpu_seconds = max(self._cpu_seconds / 2, self._min_cpu_seconds)
            reason = f"it takes more than {seconds:g}s of CPU time"
        except SizeLimitError as error:
            reason = str(error)
        except MemoryError:
            reason = "it needs more memory than is available"
        raise TemplateLimitError(
            f"{self._label} can't render {self.input_name}: {reason}"
        )


def _namespaces(tree: nodes.Template) -> set[str]:
    """Return the names that a template sets to `namespace(…)`.

    Jinja takes `{% set names.field = … %}` within a loop for reading a variable.
    """
    return {
        assigned.target.name
        for assigned in tree.find_all(nodes.Assign)
        if isinstance(assigned.target, nodes.Name)
        and isinstance(assigned.node, nodes.Call)
        and isinstance(assigned.node.node, nodes.Name)
        and assigned.node.node.name == "namespace"
    }
