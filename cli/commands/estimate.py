"""`batchchat estimate`: what a file will take, before it is run."""

import os
from typing import TYPE_CHECKING, Any

from batchchat.cli.terminal import options
from batchchat.cli.terminal import streams as terminal
from batchchat.cli.terminal.format import count, duration, short, size

if TYPE_CHECKING:
    from decimal import Decimal

    from batchchat.cli.terminal.progress import Bar, Told
    from batchchat.jobs.catalog.catalog import Model
    from batchchat.jobs.catalog.usage import Price
    from batchchat.jobs.planning.estimator import Counted, Counter, Past

_SHOWN = 10


def estimate(
    file: options.File,
    model: options.Model = None,
    progress: options.Progress = True,
    json: options.Json = False,
) -> int:
    """Count the tokens of a file's prompts, and say what it may cost and take.

    batchchat estimate requests.jsonl --model demo
    """
    from batchchat.cli.backends.report import BAD_ANSWER
    from batchchat.cli.backends.session import open_session
    from batchchat.cli.terminal.input_file import input_of, open_input
    from batchchat.cli.terminal.progress import Display
    from batchchat.jobs.errors import UsageError
    from batchchat.jobs.planning.estimator import Counter, past_of

    # Tokens are counted by threads of ours; with the tokenizer's own, which free what
    # others have allocated, it takes half as long again.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    session = open_session()
    if model is not None:
        session.catalog.find(model)
    counter = Counter(model, session.renderers, session.settings.max_line_bytes)
    with open_input(file) as stream:
        source = input_of(file, stream)
        tell = _Teller(counter, source.size)
        display = Display(tell, shown=progress)
        try:
            counter.count(source.chunks())
        finally:
            display.stop()
    counted = counter.counted
    if counter.model is None:
        raise UsageError(
            f"`{file}` has no good line that names a model",
            hint="name it with `--model`, and see what is wrong with `validate`",
        )
    found = session.catalog.find(counter.model)
    past = past_of(session.ledger, found)
    if json:
        terminal.out_json(_object(counted, found, past))
    else:
        _show(counted, found, past)
    unfit = counted.invalid + counted.too_long + counted.refused
    if counted.invalid and not json:
        terminal.hint(f"see what is wrong with `batchchat validate {file}`")
    return BAD_ANSWER if unfit or not counted.requests else 0


class _Teller:
    """Says how far the counting is."""

    def __init__(self, counter: "Counter", whole: int | None) -> None:
        self._counted = counter.counted
        self._whole = whole

    def __call__(self, bar: "Bar") -> "Told":
        from batchchat.cli.terminal.progress import Told

        counted = self._counted
        share = bar(counted.bytes / self._whole) if self._whole else ""
        tokens = short(counted.input_tokens)
        done = f"{count(counted.requests, 'request')}, {tokens} tokens"
        return Told("counting", " ".join(filter(None, ("counting", share, done))))


def _object(counted: "Counted", model: "Model", past: "Past | None") -> dict[str, Any]:
    """Return what `--json` prints; null is what is not known."""
    output = past.output_of(counted) if past else None
    seconds = past.seconds_of(counted) if past else None
    costs = _costs(counted, model.price, past) if model.price else None
    return {
        "object": "estimate",
        "model": model.name,
        "request_counts": {
            "total": counted.requests,
            "invalid": counted.invalid,
            "too_long": counted.too_long,
            "refused": counted.refused,
        },
        "lines": counted.lines,
        "input_tokens": counted.input_tokens,
        "uncounted_turns": counted.turns,
        "output_tokens": {
            "most": counted.most_output,
            "expected": output and {"low": output.low, "high": output.high},
        },
        "estimated_cost": costs,
        "price_date": model.price.date if model.price else None,
        "engine_seconds": seconds
        and {"low": round(seconds.low, 3), "high": round(seconds.high, 3)},
        "engine_cost": (
            seconds
            and model.gpu_hour is not None
            and {
                "low": model.engine_cost(seconds.low),
                "high": model.engine_cost(seconds.high),
            }
        )
        or None,
        "based_on": {
            "batches": past.batches if past else 0,
            "requests": past.requests if past else 0,
        },
    }


def _costs(
    counted: "Counted", price: "Price", past: "Past | None"
) -> dict[str, "Decimal | None"]:
    """Return the cost of the prompts alone, what to expect, and the most."""
    from batchchat.jobs.catalog.usage import Usage

    def cost(output: float) -> "Decimal":
        return price.cost(Usage(counted.input_tokens, 0, round(output)))

    output = past.output_of(counted) if past else None
    return {
        "least": cost(0),
        "expected_low": cost(output.low) if output else None,
        "expected_high": cost(output.high) if output else None,
        "most": cost(counted.most_output),
    }


def _show(counted: "Counted", model: "Model", past: "Past | None") -> None:
    good = counted.requests - counted.invalid
    terminal.out(f"requests  {count(good)} of {size(counted.bytes)} for {model.name}")
    terminal.out(f"input     {count(counted.input_tokens, 'token')}")
    if counted.turns:
        turns = count(counted.turns, "later turn")
        terminal.out(f"          without the answers that {turns} will hold")
    terminal.out(f"output    at most {count(counted.most_output, 'token')}")
    if past is not None:
        low, high = past.output_of(counted)
        told = count(past.batches, "last batch").replace("batchs", "batches")
        terminal.out(f"          {_range(low, high)} expected, by the {told}")
    terminal.out(f"cost      {_cost_line(counted, model, past)}")
    terminal.out(f"engine    {_engine_line(counted, model, past)}")
    _show_lines(counted)


def _cost_line(counted: "Counted", model: "Model", past: "Past | None") -> str:
    if model.price is None:
        return "not known: the catalog has no price of this model"
    costs = _costs(counted, model.price, past)
    at = f"at the prices of {model.price.date}"
    if past is None:
        return f"${costs['least']:f} to ${costs['most']:f}, {at}"
    low, high = costs["expected_low"], costs["expected_high"]
    expected = f"${low:f}" if low == high else f"${low:f} to ${high:f}"
    return f"{expected} expected, at most ${costs['most']:f}, {at}"


def _engine_line(counted: "Counted", model: "Model", past: "Past | None") -> str:
    if past is None:
        return "not known: no batch of this model has ended here"
    low, high = past.seconds_of(counted)
    took = duration(low) if low == high else f"{duration(low)} to {duration(high)}"
    if model.gpu_hour is None:
        return took
    costs = [f"${model.engine_cost(seconds):f}" for seconds in (low, high)]
    return f"{took}, {' to '.join(dict.fromkeys(costs))} of GPUs"


def _range(low: float, high: float) -> str:
    texts = [count(round(number)) for number in (low, high)]
    return " to ".join(dict.fromkeys(texts))


def _show_lines(counted: "Counted") -> None:
    """Say which lines can't be answered."""
    for number, why in (
        (counted.invalid, "no good requests"),
        (counted.too_long, "longer than the model's context"),
        (counted.refused, "refused by the model's template or tokenizer"),
    ):
        if number:
            terminal.say(f"{count(number, 'line')}: {why}")
    if counted.lines:
        named = ", ".join(count(line) for line in counted.lines[:_SHOWN])
        terminal.say(f"  line {named}{' …' if len(counted.lines) > _SHOWN else ''}")
