"""A submission on any platform: found, scored, summarised and written."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from leaderboard.cohort.banner import is_synthetic
from leaderboard.cohort.case import Case
from leaderboard.cohort.names import is_mask_file
from leaderboard.errors import InputError
from leaderboard.io.archive import unpack
from leaderboard.io.images import write_text
from leaderboard.io.masks import without_options
from leaderboard.outputs import prepare_output
from leaderboard.platforms import codabench, evalai, grand_challenge
from leaderboard.platforms.interface import Platform, Settings
from leaderboard.platforms.summary import Summary, invented_names, per_case_rows, summarise
from leaderboard.presets import PRESETS
from leaderboard.scoring.folder import score_cases
from leaderboard.scoring.references import find_references, partitions_in
from leaderboard.scoring.submission import BY_RULES

PLATFORMS: dict[str, Platform] = {
    module.PLATFORM.name: module.PLATFORM for module in (grand_challenge, codabench, evalai)
}
#: What the one method in the rows is called.
_METHOD = "submission"
#: Problems that are told in the one line that a participant sees.
_TOLD = 3


@dataclass(frozen=True)
class Evaluation:
    """What came of a submission."""

    frame: pd.DataFrame  #: its rows, in the layout of cases.csv
    summary: Summary
    files: dict[str, object]  #: what the platform's result files hold, by name
    absent: list[str] = field(default_factory=list)  #: cases without a prediction
    refused: list[str] = field(default_factory=list)  #: cases whose prediction cannot be scored


def evaluate(
    platform: Platform,
    settings: Settings,
    *,
    progress: Callable[[int, int], None] | None = None,
    on_note: Callable[[str], None] | None = None,
    on_problem: Callable[[str], None] | None = None,
) -> Evaluation:
    """Score a submission where a platform puts it.

    Args:
        platform: one of `PLATFORMS`.
        settings: what is evaluated, and how.
        progress: called with (done, total).
        on_note: called with a line on what the organisers should know.
        on_problem: called with the line of each problem; the last line of all is that of the error.

    Raises:
        InputError: with one line: the first problems, and how many more there are; a `MachineError` stays one.
    """
    say = on_problem or (lambda problem: None)
    try:
        return _evaluate(platform, settings, progress, on_note, say)
    except InputError as error:
        problems = list(dict.fromkeys(map(without_options, error.problems)))
        if len(problems) == 1:
            raise type(error)(problems) from None
        for problem in problems:
            say(problem)
        more = len(problems) - _TOLD
        told = [*problems[:_TOLD], *([f"and {more} more"] if more > 0 else [])]
        raise type(error)(f"{len(problems)} problems: {'; '.join(told)}") from None


def _evaluate(
    platform: Platform,
    settings: Settings,
    progress: Callable[[int, int], None] | None,
    on_note: Callable[[str], None] | None,
    on_problem: Callable[[str], None],
) -> Evaluation:
    rules = PRESETS.get(settings.preset)
    missing: list[list[str]] = []
    with ExitStack() as stack:
        cases, synthetic = open_references(stack, settings)
        handed = platform.hand_over(stack, settings, cases, bool(rules and rules.needs_probabilities))
        frame = score_cases(
            cases,
            handed.masks,
            _METHOD,
            probabilities=handed.maps,
            map_words=BY_RULES,
            grid=settings.grid,
            jobs=settings.jobs,
            lenient=settings.lenient,
            complete=settings.complete,
            synthetic=synthetic,
            progress=progress,
            on_problem=on_problem,
            on_missing=lambda *names: missing.extend(names),
            on_note=on_note,
        )
        names = invented_names(cases) if settings.per_case == "anonymous" else None
    summary = summarise(frame, settings.preset)
    rows = None if settings.per_case == "none" else per_case_rows(frame, names)
    refused, absent = missing
    return Evaluation(frame, summary, platform.results(summary, rows, settings), absent, refused)


def write_results(out: Path, files: dict[str, object]) -> None:
    """Write the result files into a folder, the first one last: it is there only if all are.

    Raises:
        InputError: a file cannot be written.
    """
    for name, content in reversed(files.items()):
        write_text(out / name, json.dumps(content, indent=2, allow_nan=False) + "\n")


def clear_results(out: Path, names: Sequence[str]) -> None:
    """Remove the result files of an earlier submission, so that one that is refused leaves none.

    Raises:
        InputError: the folder cannot be written to, or one of the files holds something else.
    """
    for name in names:
        prepare_output(out / name, begins="{")
        (out / name).unlink(missing_ok=True)


def open_references(stack: ExitStack, settings: Settings) -> tuple[list[Case], bool]:
    """The cases to score against, and whether they are invented.

    Raises:
        InputError: there are none, or it must be said which of two partitions is meant.
    """
    root = settings.references
    if root.is_file():
        root = _unpacked(root, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leaderboard-"))))
    inner = _only_folder(root)
    try:
        return _cases_in(root, settings), is_synthetic(root)
    except InputError:
        if inner is None:
            raise
    return _cases_in(inner, settings), is_synthetic(inner)


def _cases_in(root: Path, settings: Settings) -> list[Case]:
    if settings.partition is None:
        partitions = partitions_in(root, settings.format)
        if len(partitions) > 1:
            raise InputError(
                f"{root}: has {' and '.join(partitions)} cases: say --partition {partitions[0]}, or another"
            )
    return find_references(root, settings.submission, settings.partition, settings.format, settings.grid)


def _only_folder(root: Path) -> Path | None:
    """The folder that a tarball or zip has on top, if it has one."""
    if not root.is_dir():
        return None
    entries = [path for path in root.iterdir() if not path.name.startswith((".", "__MACOSX"))]
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else None


def _unpacked(archive: Path, target: Path) -> Path:
    """A zip of reference masks as a flat folder of files with their own names.

    Raises:
        InputError: it is no such zip, or two masks have one name.
    """
    files, problems, _ = unpack(archive, target, lambda name: is_mask_file(name) or name == "patients.csv")
    folder = target / "references"
    folder.mkdir()
    for shown, file in files.items():
        if (folder / shown.name).exists():
            problems.append(f"{shown}: another file in the archive has this name: keep one of them")
        else:
            file.rename(folder / shown.name)
    if problems:
        raise InputError(problems)
    return folder
