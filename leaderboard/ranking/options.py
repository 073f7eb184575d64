"""How to rank: everything that can be chosen, in one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leaderboard.columns import CORE_METRICS
from leaderboard.errors import InputError
from leaderboard.ranking.policies import POLICIES
from leaderboard.ranking.resampling import UNITS
from leaderboard.ranking.schemes import SCHEMES

#: Within what ``--by`` ranks.
STRATA = ("size", "fold")


@dataclass(frozen=True)
class RankingOptions:
    """How to rank.

    Raises:
        InputError: a name is unknown or a number makes no sense. Metrics are checked later, with the rows.
    """

    scheme: str = "dice"  #: one of `schemes.SCHEMES`
    policy: str = "isles2018"  #: one of `policies.POLICIES`
    #: what the scheme ranks by, each ``name`` or ``name:higher`` or ``name:lower``; any column of numbers will do, such
    #: as ``seconds:lower``. The scheme ``dice`` uses Dice alone.
    metrics: Sequence[str] = CORE_METRICS
    unit: str = "patient"  #: what is resampled, ``patient`` or ``case``
    resamples: int = 10_000  #: how many; 0 leaves out all that comes from resampling
    seed: int = 0  #: of the resamples

    def __post_init__(self) -> None:
        problems = [
            f"the {name} {chosen} is unknown: choose {', '.join(known)}"
            for name, chosen, known in (
                ("scheme", self.scheme, SCHEMES),
                ("policy", self.policy, POLICIES),
                ("unit", self.unit, UNITS),
            )
            if chosen not in known
        ]
        if self.resamples < 0 or self.seed < 0:
            problems.append("resamples and the seed must be at least 0: correct them")
        if problems:
            raise InputError(problems)


#: The choices where nothing is said.
DEFAULTS = RankingOptions()
