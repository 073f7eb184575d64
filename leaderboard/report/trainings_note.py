"""The sentence that says over what scores and sets hold: patients alone, or trainings as well."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from leaderboard.errors import listed

#: What every output says of trained methods of which one training is known, masks from outside among them.
CONDITIONAL = "conditional on these trained networks"
_WHY = (
    "what another training would change is not in them (masks from outside count as one training, and a rule has none)"
)


def training_note(table: pd.DataFrame) -> str:
    """Whether scores, intervals and sets cover trainings, and of which methods.

    Args:
        table: as from `ranks.rank_methods`.
    """
    known = table["trainings"].fillna(1) if "trainings" in table.columns else pd.Series(1, table.index)
    trainings = dict(zip(table["method"], known.astype(int), strict=True))
    if "tie_group" not in table.columns:
        return covered(trainings, "scores and ranks", "")
    return covered(trainings, "scores, ranks and sets", "sets and intervals")


def covered(trainings: Mapping[str, int], all_results: str, intervals: str) -> str:
    """The sentence. A table does not tell rules, which have no training, from masks of one: it holds for both.

    Args:
        trainings: of each method, their number; 1 where none is known.
        all_results: everything that is conditional if no method has several, in words.
        intervals: what covers trainings where there are several, in words; empty: there is nothing of the kind.
    """
    once = [method for method, number in trainings.items() if number < 2]
    numbers = sorted({number for number in trainings.values() if number > 1})
    if not numbers:
        return f"For methods that were trained, {all_results} are {CONDITIONAL}: {_WHY}."
    several = f"{numbers[0]} to {numbers[-1]}" if numbers[1:] else str(numbers[0])
    text = f"Scores are means over {several} trainings"
    text += f", and {intervals} cover patients and trainings" if intervals else ""
    return f"{text}; but those of {listed(once)}, where trained, are {CONDITIONAL}: {_WHY}." if once else f"{text}."
