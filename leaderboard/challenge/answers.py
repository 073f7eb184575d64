"""A text for each team: what it handed in, what was refused and why, and what counts. It holds no score and no rank.

A text depends on its team's submissions alone, so a resubmission changes no other team's. Its first line says whose it
is; no path of the organisers' machine and nothing about a reference is in it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from leaderboard.challenge.counting import Judged, Result, Standing
from leaderboard.challenge.entries import REMEDY
from leaderboard.challenge.settings import Challenge
from leaderboard.challenge.times import time_text
from leaderboard.errors import listed, printable

#: How every text begins.
BEGINS = "Challenge: "
#: Problems of a submission, and files with the same problem, that are told; further ones are counted.
_MOST = 40
_WIDTH = 100


def answer(result: Result, challenge: Challenge) -> str:
    """The text for a team.

    Args:
        result: of the team.
        challenge: whose title and rules it names.
    """
    lines = [f"{BEGINS}{challenge.title}", f"Team: {result.team.name}", ""]
    if result.counting:
        lines.append(f"What counts: {result.counting.entry.name} ({_rule(challenge)}), in the tables as {result.row}")
    else:
        lines.append("What counts: nothing yet, so the team is not ranked")
    for judged in result.submissions:
        lines += ["", *_submission(judged, challenge)]
    nothing = [] if result.submissions or result.team.problems else [f"Nothing was handed in: {REMEDY}"]
    for problem in [*result.team.problems, *nothing]:
        lines += ["", *_wrapped(problem, "")]
    return "\n".join(lines) + "\n"


def in_a_line(result: Result) -> list[str]:
    """A line for each thing of a team that was refused, not judged or came late, for the organisers."""
    team = result.team.name
    lines = []
    for judged in result.submissions:
        if judged.standing in (Standing.REFUSED, Standing.UNJUDGED):
            first, *others = judged.verdict.problems
            what = f"{printable(judged.entry.name)} was not judged: " * (judged.standing is Standing.UNJUDGED)
            lines.append(f"{team}: {what}{first}{f' (and {len(others)} more)' if others else ''}")
        elif judged.standing is Standing.LATE:
            lines.append(f"{team}: {printable(judged.entry.name)} came after the deadline: it does not count")
    return [
        *lines,
        *(problem if not result.team.is_ranked else f"{team}: {problem}" for problem in result.team.problems),
    ]


def _rule(challenge: Challenge) -> str:
    which = "one with the best mean Dice" if challenge.counts == "best" else "latest"
    return f"the {which} of those accepted{' in time' if challenge.deadline else ''}"


def _submission(judged: Judged, challenge: Challenge) -> list[str]:
    """What became of a submission."""
    entry, verdict = judged.entry, judged.verdict
    problems = grouped(verdict.problems)
    what = {
        Standing.COUNTS: "accepted; it counts",
        Standing.ACCEPTED: "accepted; another one counts",
        Standing.REFUSED: f"REFUSED, for {'this reason' if len(problems) == 1 else 'these reasons'}",
        Standing.UNJUDGED: "could not be judged: the organisers were told",
        Standing.LATE: "does not count",
    }[judged.standing]
    if judged.standing is Standing.LATE and challenge.deadline:
        what = f"came at {time_text(entry.submitted)}, after the deadline of {time_text(challenge.deadline)}; {what}"
    lines = _wrapped(f"{printable(entry.name)}: {what}", "")
    if judged.standing is Standing.UNJUDGED:  # why, concerns the organisers' machine
        return lines
    for problem in problems[:_MOST]:
        lines += _wrapped(problem, "  - ")
    if len(problems) > _MOST:
        lines.append(f"  - and {len(problems) - _MOST} more")
    if verdict.missing:
        count = len(verdict.missing)
        what = "1 case has no prediction and counts" if count == 1 else f"{count} cases have no prediction and count"
        lines += _wrapped(f"{what} as missing: {listed(verdict.missing, 10)}", "  - ")
    for note in verdict.notes:
        lines += _wrapped(note, "  - ")
    return lines


def grouped(problems: Sequence[str]) -> list[str]:
    """Problems, with what is word for word the same of several files told once: ``each of 30 files: SENTENCE (a, b)``.

    Sentences that differ in anything, such as the name that a file should have, stay lines of their own.

    Args:
        problems: each ``FILE: SENTENCE``; what is not is left as it is.
    """
    groups: dict[str, dict[str, str]] = {}  # by sentence: the whole problem of each file
    for problem in problems:
        file, colon, sentence = problem.partition(": ")
        key = sentence.replace(file, "the file") if colon else problem
        groups.setdefault(key, {})[file] = problem
    lines: list[str] = []
    for sentence, found in groups.items():
        if len(found) == 1:
            lines += found.values()
        else:
            lines.append(f"each of {len(found)} files: {sentence} ({listed(list(found), _MOST)})")
    return lines


def _wrapped(text: str, bullet: str) -> list[str]:
    """A line of a mail or several; names and paths are not broken."""
    indent = " " * len(bullet)
    return textwrap.wrap(
        text, _WIDTH, initial_indent=bullet, subsequent_indent=indent or "  ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
