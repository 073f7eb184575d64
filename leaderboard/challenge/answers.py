"""A text for each team: what it handed in, what was refused and why, and what counts. It holds no score and no rank.

A text depends on its team's submissions alone, so a resubmission changes no other team's. Its first line says whose it
is; no path of the organisers' machine and nothing about a reference is in it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from leaderboard.challenge.counting import Judged, Result, Standing
from leaderboard.challenge.settings import Challenge
from leaderboard.challenge.times import time_text
from leaderboard.errors import listed, printable

#: How every text begins.
BEGINS = "Challenge: "
_MOST_LINES = 20
_WIDTH = 100
#: Names of files that stand for all with the same problem.
_EXAMPLES = 3
_NUMBERS = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


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
    for problem in result.team.problems:
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
    for problem in problems[:_MOST_LINES]:
        lines += _wrapped(problem, "  - ")
    if len(problems) > _MOST_LINES:
        lines.append(f"  - and {len(problems) - _MOST_LINES} more")
    if verdict.missing:
        count = len(verdict.missing)
        what = "1 case has no prediction and counts" if count == 1 else f"{count} cases have no prediction and count"
        lines += _wrapped(f"{what} as missing: {listed(verdict.missing, 10)}", "  - ")
    for note in verdict.notes:
        lines += _wrapped(note, "  - ")
    return lines


def grouped(problems: Sequence[str]) -> list[str]:
    """Problems with what several files have in common told once: ``30 files, e.g. a, b, c: SENTENCE``.

    Sentences that differ in their numbers alone (the sizes of voxels, say) are one, and the numbers are the first's.

    Args:
        problems: each ``FILE: SENTENCE``; what is not is left as it is.
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for problem in problems:
        file, colon, sentence = problem.partition(": ")
        key = _NUMBERS.sub("0", sentence) if colon else problem
        groups.setdefault(key, []).append((file, sentence))
    lines = []
    for found in groups.values():
        (file, sentence), *others = found
        files = list(dict.fromkeys(file for file, _ in found))
        if len(files) == 1:
            lines += [f"{file}: {text}" if text else file for file, text in found]
            continue
        differs = any(text != sentence for _, text in others)
        of_first = f" (the numbers are those of {file})" if differs else ""
        lines.append(f"{len(files)} files, e.g. {', '.join(files[:_EXAMPLES])}: {sentence}{of_first}")
    return lines


def _wrapped(text: str, bullet: str) -> list[str]:
    """A line of a mail or several; names and paths are not broken."""
    indent = " " * len(bullet)
    return textwrap.wrap(
        text, _WIDTH, initial_indent=bullet, subsequent_indent=indent or "  ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
