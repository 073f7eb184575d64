"""The command ``leaderboard challenge``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from leaderboard.command_line import Parser
from leaderboard.scoring.arguments import add_jobs

#: Gives a function that is told (done, total), and shows it while the context lasts.
Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


def add_challenge(parser: Parser, progress: Progress) -> None:
    """Give a parser the arguments of ``leaderboard challenge``.

    Args:
        parser: of the command.
        progress: how work is shown.
    """
    parser.description = (
        "Check, score and rank what teams handed in: DIR/submissions/TEAM/ANY.zip or folders, by the rules of "
        "DIR/challenge.yaml. Only what is new is scored; the same command continues what was interrupted."
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="holds challenge.yaml and submissions")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of page, tables and texts (default: DIR/board)")
    add_jobs(parser)
    parser.set_defaults(
        command=run_challenge,
        fail=parser.error,
        progress=progress,
        interrupted="interrupted; the same command continues",
    )


def run_challenge(arguments: argparse.Namespace) -> int:
    """Score what is new, rank, and write all files.

    Returns:
        The exit status: 1 if a submission could not be judged.

    Raises:
        InputError: challenge.yaml or the references are at fault, or no team is ranked.
    """
    from leaderboard.challenge.answers import in_a_line
    from leaderboard.challenge.board import files_of, write_board
    from leaderboard.challenge.counting import Standing, count
    from leaderboard.challenge.entries import SUBMISSIONS, find_teams
    from leaderboard.challenge.references import read_references
    from leaderboard.challenge.settings import read_challenge
    from leaderboard.challenge.verdicts import SCORES, judge
    from leaderboard.errors import listed, printable
    from leaderboard.outputs import keep_apart, prepare_output
    from leaderboard.report.leaderboard_files import counted

    folder: Path = arguments.folder
    challenge = read_challenge(folder)
    out: Path = arguments.out or folder / "board"
    closed = [folder / SUBMISSIONS, challenge.references]
    keep_apart(arguments.fail, [("--out", path) for path in files_of(out)], [], closed)
    against, notes = read_references(challenge)
    teams, beside = find_teams(folder / SUBMISSIONS)
    stamp = folder / SCORES / "board.json"
    prepare_output(stamp, begins='{"inputs"')
    with arguments.progress("scoring") as progress:
        entries = [entry for team in teams for entry in team.entries]
        verdicts, scored = judge(entries, against, folder / SCORES, jobs=arguments.jobs, progress=progress)
    remaining = iter(verdicts)
    results = [count(team, [next(remaining) for _ in team.entries], challenge) for team in teams]
    untold = [f"{e.team}/{e.name}" for e in entries if challenge.deadline and e.is_timed_by_its_files]
    if untold:
        notes.append(
            printable(
                f"the time of {listed(untold)} is that of its files, which a team may set: write submitted: beside it"
            )
        )
    lines = [f"note: {note}" for note in [*notes, *beside]]
    for line in [*lines, *(line for result in results for line in in_a_line(result))]:
        print(f"leaderboard: {line}", file=sys.stderr)
    is_new = write_board(results, challenge, out, stamp)
    standings = [judged.standing for result in results for judged in result.submissions]
    ranked = sum(result.counting is not None for result in results)
    handed_in = counted(len(entries), "submission")
    parts = [f"{ranked} of {counted(len(teams), 'team')} ranked", f"{handed_in}, {scored} scored now"]
    for standing, word in ((Standing.REFUSED, "refused"), (Standing.LATE, "late"), (Standing.UNJUDGED, "not judged")):
        if standings.count(standing):
            parts.append(f"{standings.count(standing)} {word}")
    if challenge.options.preset:
        parts.append(f"preset {challenge.options.preset}")
    print(f"{out}: {'; '.join(parts)}{'' if is_new else '; nothing has changed'}")
    if unjudged := standings.count(Standing.UNJUDGED):
        line = f"{folder}: {counted(unjudged, 'submission')} could not be judged: mend what is said above and repeat"
        print(f"leaderboard: {line}", file=sys.stderr)
        return 1
    return 0
