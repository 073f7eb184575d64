"""The sentence that says over what scores and sets hold: patients alone, or trainings as well."""

from __future__ import annotations

import pandas as pd

from leaderboard.errors import listed

#: What every output says of methods of which one training is known, masks from outside and rules.
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
    once = table.loc[known < 2, "method"].tolist()
    sets = "tie_group" in table.columns
    if len(once) == len(table):
        return f"{'Scores, ranks and sets' if sets else 'Scores and ranks'} are {CONDITIONAL}: {_WHY}."
    numbers = sorted(set(known[known > 1].astype(int)))
    several = f"{numbers[0]} to {numbers[-1]}" if numbers[1:] else str(numbers[0])
    covered = f"Scores are means over {several} trainings"
    covered += ", and sets and intervals cover patients and trainings" if sets else ""
    if not once:
        return f"{covered}."
    return f"{covered}; but those of {listed(once, 5)} are {CONDITIONAL}: {_WHY}."
