"""Averages and win rates of judgments, by the rules of FastChat's `show_result`."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any, TypeVar

from examples.mt_bench.verdict import ERROR, NO_RATING

Line = Mapping[str, Any]
T = TypeVar("T")


@dataclass(kw_only=True)
class Rating:
    """A model's mean ratings; None if no such judgment contains a rating.

    The average is the mean of all ratings, not of the two turns' means.
    """

    first_turn: float | None
    second_turn: float | None
    average: float | None
    categories: dict[str, float | None]
    rated: int
    judged: int


@dataclass
class Record:
    """The outcomes of a model's matches; `error` is not counted as played."""

    win: int = 0
    loss: int = 0
    tie: int = 0
    error: int = 0

    @property
    def played(self) -> int:
        """The number of matches without an error."""
        return self.win + self.loss + self.tie

    @property
    def win_rate_adjusted(self) -> float | None:
        """The share of wins, ties counting half; None if no match was played."""
        return (self.win + self.tie / 2) / self.played if self.played else None


@dataclass
class Standing:
    """A model's record, in total and by category."""

    total: Record = field(default_factory=Record)
    categories: dict[str, Record] = field(
        default_factory=lambda: defaultdict[str, Record](Record)
    )

    def count(self, category: str, outcome: str) -> None:
        """Count a match."""
        for record in (self.total, self.categories[category]):
            setattr(record, outcome, getattr(record, outcome) + 1)

    def rates(self) -> dict[str, float | None]:
        """Return the adjusted win rates by category."""
        return {name: it.win_rate_adjusted for name, it in self.categories.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible dictionary."""
        rates = {"win_rate_adjusted": self.total.win_rate_adjusted}
        by_category = {name: asdict(it) for name, it in self.categories.items()}
        return asdict(self.total) | rates | {"categories": by_category}


def ratings(lines: Iterable[Line], categories: Mapping[int, str]) -> dict[str, Rating]:
    """Return each model's ratings, best first."""
    by_model: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by_model[line["model"]].append(line)
    found = {model: _rating(it, categories) for model, it in by_model.items()}
    return _best_first(found, {model: it.average for model, it in found.items()})


def standings(
    lines: Iterable[Line], categories: Mapping[int, str], baseline: str | None = None
) -> dict[str, Standing]:
    """Return each model's standing, best first.

    With a baseline, only matches against it count, and the baseline is left out. A
    match is won if both games have the same winner; otherwise it is a tie.
    """
    found: dict[str, Standing] = defaultdict(Standing)
    for line in lines:
        models = line["model_1"], line["model_2"]
        if baseline is None or baseline in models:
            category = categories[line["question_id"]]
            for model, outcome in zip(models, _outcomes(line), strict=True):
                found[model].count(category, outcome)
    if baseline is not None:
        found.pop(baseline, None)
    rates = {model: it.total.win_rate_adjusted for model, it in found.items()}
    return _best_first(found, rates)


def _rating(lines: list[Line], categories: Mapping[int, str]) -> Rating:
    rated = [line for line in lines if line["score"] != NO_RATING]
    names = dict.fromkeys(categories[line["question_id"]] for line in lines)
    return Rating(
        first_turn=_mean(line for line in rated if line["turn"] == 1),
        second_turn=_mean(line for line in rated if line["turn"] != 1),
        average=_mean(rated),
        categories={
            name: _mean(it for it in rated if categories[it["question_id"]] == name)
            for name in names
        },
        rated=len(rated),
        judged=len(lines),
    )


def _mean(lines: Iterable[Line]) -> float | None:
    scores = [line["score"] for line in lines]
    return fmean(scores) if scores else None


def _outcomes(line: Line) -> tuple[str, str]:
    """Return the outcomes of a match for its first and second model."""
    games = line["g1_winner"], line["g2_winner"]
    if ERROR in games:
        return "error", "error"
    if games == ("model_1", "model_1"):
        return "win", "loss"
    if games == ("model_2", "model_2"):
        return "loss", "win"
    return "tie", "tie"


def _best_first(found: Mapping[str, T], by: Mapping[str, float | None]) -> dict[str, T]:
    order = sorted(found, key=lambda model: (-(by[model] or 0.0), model))
    return {model: found[model] for model in order}
