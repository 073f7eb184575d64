"""All options of a ranking in one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np

from leaderboard.errors import InputError, check_types, cut, nearest
from leaderboard.presets import PRESETS, find_preset
from leaderboard.ranking.policies import POLICIES
from leaderboard.ranking.resampling import UNITS
from leaderboard.ranking.schemes import SCHEMES

#: Strata within which ``--by`` ranks.
STRATA = ("size", "fold")
#: A million resamples of 63 patients take 120 MB, and add nothing over 100,000.
MOST_RESAMPLES = 1_000_000
#: More than there are, and few enough to name what is wrong with each.
MOST_METRICS = 100


@dataclass(frozen=True)
class RankingOptions:
    """How to rank.

    Raises:
        InputError: a name is unknown, a number makes no sense or a value is of a wrong type. Metrics are checked
            later, with the rows.
    """

    scheme: str = "dice"  #: one of `schemes.SCHEMES`
    policy: str = "isles2018"  #: one of `policies.POLICIES`
    #: what the scheme ranks by, each ``name``, or for any other column of numbers its name and direction, such as
    #: ``seconds:lower``. Empty: the core metrics that the rows have. The scheme ``dice`` uses Dice alone.
    metrics: Sequence[str] = ()
    unit: str = "patient"  #: what is resampled, ``patient`` or ``case``
    resamples: int = 10_000  #: how many, up to `MOST_RESAMPLES`; 0 leaves out everything that comes from resampling
    seed: int = 0  #: of the resamples
    simultaneous: bool = False  #: whether all sets of ranks are to hold at once, not each by itself
    #: the challenge whose rules these are, one of `presets.PRESETS`; empty: own choice
    preset: str = ""

    @classmethod
    def of_preset(
        cls, name: str, *, unit: str = "patient", resamples: int = 10_000, seed: int = 0, simultaneous: bool = False
    ) -> RankingOptions:
        """The rules of a challenge.

        Raises:
            InputError: there is no such preset, or a number makes no sense.
        """
        rules = find_preset(name)
        return cls(
            scheme=rules.scheme,
            policy=rules.policy,
            metrics=rules.metrics,
            unit=unit,
            resamples=resamples,
            seed=seed,
            simultaneous=simultaneous,
            preset=name,
        )

    def __post_init__(self) -> None:
        check_types(
            *((name, getattr(self, name), str, "a name") for name in ("scheme", "policy", "unit", "preset")),
            *((name, getattr(self, name), Integral, "a whole number") for name in ("resamples", "seed")),
            ("metrics", self.metrics, Sequence, "a list of names"),
            ("simultaneous", self.simultaneous, (bool, np.bool_), "True or False"),
        )
        for name, kind in (("resamples", int), ("seed", int), ("simultaneous", bool)):  # NumPy's are no JSON
            object.__setattr__(self, name, kind(getattr(self, name)))
        problems = [
            f"the {name} {cut(chosen)} is unknown: {nearest(chosen, known)}choose {', '.join(known)}"
            for name, chosen, known in (
                ("scheme", self.scheme, SCHEMES),
                ("policy", self.policy, POLICIES),
                ("unit", self.unit, UNITS),
            )
            if chosen not in known
        ]
        if self.resamples < 0 or self.seed < 0:
            problems.append("resamples and the seed must be at least 0: correct them")
        if self.resamples > MOST_RESAMPLES:
            problems.append(
                f"{self.resamples} resamples are more than the {MOST_RESAMPLES} that are allowed: take fewer"
            )
        if len(self.metrics) > MOST_METRICS:
            problems.append(
                f"{len(self.metrics)} metrics are more than the {MOST_METRICS} that are allowed: take fewer"
            )
        if isinstance(self.metrics, str) or not all(isinstance(metric, str) for metric in self.metrics):
            problems.append("metrics must be a list of names: correct it")
        rules = PRESETS.get(self.preset)
        if self.preset and not rules:
            find_preset(self.preset)
        if rules and (self.scheme, self.policy, tuple(self.metrics)) != (rules.scheme, rules.policy, rules.metrics):
            problems.append(
                f"scheme, policy and metrics are not those of the preset {self.preset}: leave it out, or take its "
                f"{rules.scheme}, {rules.policy} and {', '.join(rules.metrics)}"
            )
        if problems:
            raise InputError(problems)


#: The defaults.
DEFAULTS = RankingOptions()
