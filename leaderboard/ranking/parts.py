"""A test set in parts that were ranked one by one, and weigh differently: ATLAS's public and hidden images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real

import numpy as np
import pandas as pd

from leaderboard.errors import InputError, check_types, listed
from leaderboard.ranking.exact import competition_ranks
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.ranks import rank_methods
from leaderboard.ranking.reading import check_given
from leaderboard.ranking.schemes import SCHEMES

#: Larger weights, times a score, may be no number any more.
_LARGEST_WEIGHT = 1e100


def rank_parts(
    parts: Mapping[str, pd.DataFrame], weights: Mapping[str, float], options: RankingOptions
) -> pd.DataFrame:
    """Rank the methods in each part, and by the weighted mean of what the scheme ordered them by.

    Args:
        parts: rows of each part by its name, as `cases.read_cases` gives them.
        weights: of each part, such as `presets.Preset.weights`.
        options: how to rank within a part.

    Returns:
        One row for each method, by rank, then name: ``rank``, ``method``, ``score``, and the score in each part, in a
        column of the part's name. Equal scores share the smallest rank.

    Raises:
        InputError: parts and weights have different names, a method is not in every part, rows cannot be ranked, or an
            argument is of a wrong type.
    """
    check_types(
        ("parts", parts, Mapping, "rows by the name of their part"),
        ("weights", weights, Mapping, "the weight of each part by its name"),
    )
    if not parts:
        raise InputError("parts: there are none: give the rows of at least one by its name")
    for name, cases in parts.items():
        try:
            check_given(cases, options)
        except InputError as error:
            raise InputError([f"the part {name}: {problem}" for problem in error.problems]) from None
    check_types(*((f"the weight of {name}", weight, Real, "a number above 0") for name, weight in weights.items()))
    if set(parts) != set(weights) or not all(0 < weight < _LARGEST_WEIGHT for weight in weights.values()):
        words = f"need weights above 0 and below {_LARGEST_WEIGHT:g}, and no other part has one"
        raise InputError(f"the parts {listed(list(parts))} {words}")
    scores = {
        name: rank_methods(cases, options).set_index("method")["score"].sort_index() for name, cases in parts.items()
    }
    methods = {name: set(found.index) for name, found in scores.items()}
    every = set.union(*methods.values())
    if problems := [
        f"the part {name}: has no rows of {listed(sorted(every - own))}, which another part has: score all methods in "
        "every part"
        for name, own in methods.items()
        if every - own
    ]:
        raise InputError(problems)
    table = pd.DataFrame({"method": sorted(every), **{name: found.to_numpy() for name, found in scores.items()}})
    total = math.fsum(weights.values())
    weighted = [[weight * score for score in table[name]] for name, weight in weights.items()]
    table.insert(1, "score", [math.fsum(column) / total for column in zip(*weighted, strict=True)])
    better = SCHEMES[options.scheme].higher_is_better
    table.insert(0, "rank", competition_ranks(np.array(table["score"]), higher_is_better=better))
    return table.sort_values(["rank", "method"], ignore_index=True)
