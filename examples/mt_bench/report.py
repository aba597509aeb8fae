"""The report on the judgments of a run: tables, charts, and JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from examples.batch import RecipeError, say, write_atomically
from examples.mt_bench.chart import bar_chart
from examples.mt_bench.folder import PAIR, SINGLE, Folder
from examples.mt_bench.score import Rating, Standing, ratings, standings
from examples.mt_bench.table import rating_table, standing_table

_TOP_RATING = 10.0


class Report:
    """The scores of a run."""

    def __init__(self, folder: Folder, baseline: str | None = None) -> None:
        """Compute the scores; with a baseline, other models are compared only with it.

        Raises:
            RecipeError: there are no judgments.

        """
        self._folder = folder
        self._against = f" against {baseline}" if baseline else ""
        categories = {it.id: it.category for it in folder.questions()}
        self._rated = {
            judge: ratings(folder.judgments(judge, SINGLE), categories)
            for judge in folder.judges(SINGLE)
        }
        self._compared = {
            judge: standings(folder.judgments(judge, PAIR), categories, baseline)
            for judge in folder.judges(PAIR)
        }
        if not self._rated and not self._compared:
            raise RecipeError(f"`{folder.path}` has no judgments: run `judge`")

    def print(self) -> None:
        """Print the tables."""
        tables = [
            rating_table(f"Ratings by {judge}, from 1 to 10", found)
            for judge, found in self._rated.items()
        ]
        tables += [
            standing_table(f"Matches{self._against} by {judge}", places)
            for judge, places in self._compared.items()
        ]
        print("\n\n".join(tables), flush=True)

    def write(self) -> None:
        """Write the charts and `scores.json` into the folder."""
        for judge, found in self._rated.items():
            title = f"Mean rating by {judge}"
            rated = {model: it.categories for model, it in found.items()}
            chart = bar_chart(title, rated, top=_TOP_RATING, form=".2f")
            self._write(f"{judge}{SINGLE}.svg", chart)
        for judge, places in self._compared.items():
            title = f"Win rate{self._against} by {judge}, ties count half"
            rates = {model: it.rates() for model, it in places.items()}
            chart = bar_chart(title, rates, top=1.0, form=".0%")
            self._write(f"{judge}{PAIR}.svg", chart)
        self._write("scores.json", json.dumps(self._plain(), indent=2) + "\n")

    def print_missing_verdicts(self) -> bool:
        """Print where verdicts are missing; return whether each judge gave some."""
        any_given = [_check_ratings(*it) for it in self._rated.items()]
        any_given += [_check_winners(*it) for it in self._compared.items()]
        return all(any_given)

    def _plain(self) -> dict[str, Any]:
        return {
            "single": {
                judge: {model: asdict(it) for model, it in found.items()}
                for judge, found in self._rated.items()
            },
            "pair": {
                judge: {model: it.as_dict() for model, it in places.items()}
                for judge, places in self._compared.items()
            },
        }

    def _write(self, name: str, text: str) -> None:
        path = self._folder.path / name
        write_atomically(path, text)
        say(f"wrote {path}")


def _check_ratings(judge: str, found: Mapping[str, Rating]) -> bool:
    judged = sum(it.judged for it in found.values())
    unrated = judged - sum(it.rated for it in found.values())
    if unrated:
        say(
            f"{unrated} of {judged} judgments by {judge} have no rating and are ignored"
        )
    return unrated < judged


def _check_winners(judge: str, places: Mapping[str, Standing]) -> bool:
    decided = any(it.total.played for it in places.values())
    if any(it.total.error for it in places.values()):
        share = "some matches" if decided else "any match"
        say(f"{judge} named no winner in {share}; those under `error` are ignored")
    return decided
