"""Text tables of the scores."""

from collections.abc import Mapping, Sequence

from examples.mt_bench.score import Rating, Standing

_NONE = "-"


def rating_table(title: str, found: Mapping[str, Rating]) -> str:
    """Return a table of mean ratings by turn, then by category."""
    head = ["model", "first turn", "second turn", "average", "rated"]
    rows = [
        [
            model,
            *map(_mean, (it.first_turn, it.second_turn, it.average)),
            f"{it.rated} of {it.judged}",
        ]
        for model, it in found.items()
    ]
    cells = {
        model: {name: _mean(mean) for name, mean in it.categories.items()}
        for model, it in found.items()
    }
    return _text(title, [head, *rows], cells)


def standing_table(title: str, found: Mapping[str, Standing]) -> str:
    """Return a table of match outcomes in total, then win rates by category."""
    head = ["model", "win", "loss", "tie", "error", "win rate (ties half)"]
    rows = []
    for model, it in found.items():
        counts = it.total.win, it.total.loss, it.total.tie, it.total.error
        rows.append([model, *map(str, counts), _share(it.total.win_rate_adjusted)])
    cells = {
        model: {name: _share(rate) for name, rate in it.rates().items()}
        for model, it in found.items()
    }
    return _text(title, [head, *rows], cells)


def _text(
    title: str, rows: Sequence[Sequence[str]], cells: Mapping[str, Mapping[str, str]]
) -> str:
    """Return a title, a table, and a table of `cells` by category and model."""
    categories = dict.fromkeys(name for column in cells.values() for name in column)
    by_category = [
        [name, *(column.get(name, _NONE) for column in cells.values())]
        for name in categories
    ]
    below = _columns([["category", *cells], *by_category])
    return "\n".join([title, "", *_columns(rows), "", *below])


def _mean(value: float | None) -> str:
    return _NONE if value is None else f"{value:.2f}"


def _share(value: float | None) -> str:
    return _NONE if value is None else f"{value:.1%}"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
