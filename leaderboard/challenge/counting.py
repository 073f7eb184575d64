"""Which submission of a team counts.

Of those that are accepted and came in time, the latest (of equal times the last in natural order of their names), or
the best: the one with the highest mean Dice, a missing case counting 0, and of equal ones the latest. So a refused or
late submission leaves the one before it in place, and so does one that could not be judged, until it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from leaderboard.cases import cases_frame
from leaderboard.challenge.entries import Entry, Team
from leaderboard.challenge.settings import Challenge
from leaderboard.challenge.verdicts import Verdict
from leaderboard.cohort.names import natural_key
from leaderboard.ranking.policies import POLICIES, apply_policy


class Standing(Enum):
    """What became of a submission."""

    COUNTS = "counts"
    ACCEPTED = "accepted"  #: but another one counts
    LATE = "late"
    REFUSED = "refused"
    UNJUDGED = "not judged"  #: by a fault that is not its own


@dataclass(frozen=True)
class Judged:
    """A submission with its verdict and what became of it."""

    entry: Entry
    verdict: Verdict
    standing: Standing


@dataclass(frozen=True)
class Result:
    """A team with all that it handed in."""

    team: Team
    submissions: tuple[Judged, ...]  #: in natural order

    @property
    def counting(self) -> Judged | None:
        """The submission that counts; None if none does."""
        return next((judged for judged in self.submissions if judged.standing is Standing.COUNTS), None)

    @property
    def row(self) -> str:
        """What the team's row in the tables is called: ``team``, or ``team / method`` if the method has a name."""
        method = self.counting.entry.facts.method if self.counting else ""
        return f"{self.team.name} / {method}" if method else self.team.name


def count(team: Team, verdicts: Sequence[Verdict], challenge: Challenge) -> Result:
    """What became of the submissions of a team, whose verdicts are in the order of its entries."""
    pairs = list(zip(team.entries, verdicts, strict=True))
    in_time = [
        (entry, verdict)
        for entry, verdict in pairs
        if verdict.rows and (challenge.deadline is None or entry.submitted <= challenge.deadline)
    ]
    chosen = max(in_time, key=lambda pair: _order(pair[0], pair[1], challenge), default=(None, None))[0]
    judged = []
    for entry, verdict in pairs:
        standing = Standing.ACCEPTED
        if not verdict.rows:
            standing = Standing.REFUSED if verdict.is_final else Standing.UNJUDGED
        elif challenge.deadline and entry.submitted > challenge.deadline:
            standing = Standing.LATE
        elif entry is chosen:
            standing = Standing.COUNTS
        judged.append(Judged(entry, verdict, standing))
    return Result(team, tuple(judged))


def _order(entry: Entry, verdict: Verdict, challenge: Challenge) -> tuple[object, ...]:
    latest = (entry.submitted, natural_key(entry.name), entry.name)
    return (mean_dice(verdict, challenge), *latest) if challenge.counts == "best" else latest


def mean_dice(verdict: Verdict, challenge: Challenge) -> float:
    """The mean Dice of an accepted submission as the policy counts it."""
    counted = apply_policy(cases_frame(verdict.rows), POLICIES[challenge.options.policy], ("dice",))
    return math.fsum(counted["dice"]) / len(counted)
