"""Accepted or refused: the verdict on a submission, scored once and kept by its content.

``scores/<key>.json`` holds a verdict. The key is a digest of the bytes of masks and maps, of the references with their
patients, of the rules of scoring and of the program that scores: if any of these changes, it is scored again. While a
submission is scored, its finished cases are kept in ``<key>.partial`` (`scoring.journal`), so that an interrupted
challenge continues within a submission.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from leaderboard.cases import cases_frame
from leaderboard.challenge.entries import Entry, content_of
from leaderboard.challenge.settings import Challenge
from leaderboard.cohort.case import Case
from leaderboard.errors import InputError, MachineError, printable
from leaderboard.io.digests import file_digest
from leaderboard.io.images import write_text
from leaderboard.io.masks import read_mask, without_options
from leaderboard.parallel import run_tasks
from leaderboard.scoring.folder import score_cases
from leaderboard.scoring.journal import program_digest
from leaderboard.scoring.submission import words_on_maps_beside

SCORES = "scores"
#: Stands for the submission's own name in what is kept; no file name can hold it.
_NAME = "\0"
_METHOD = "submission"


@dataclass
class Verdict:
    """What was found of a submission."""

    #: why it is refused, or not judged; empty: it is accepted
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  #: what its team should know all the same
    rows: list[dict[str, Any]] = field(default_factory=list)  #: of cases.csv, if it is accepted
    is_final: bool = True  #: False: it could not be judged, and is scored again by the next command

    @property
    def missing(self) -> list[str]:
        """The cases that count as missing."""
        return [str(row["case"]) for row in self.rows if row["status"] == "missing"]


@dataclass(frozen=True)
class Against:
    """What every submission is scored against, and how."""

    challenge: Challenge
    cases: Sequence[Case]
    synthetic: bool  #: whether the cases are invented

    @property
    def digest(self) -> str:
        """Of everything that a score depends on besides the submission.

        Raises:
            InputError: a reference cannot be read.
        """
        challenge, digest = self.challenge, hashlib.sha256(program_digest().encode())
        rules = [challenge.grid, challenge.complete, challenge.needs_probabilities, self.synthetic]
        digest.update(json.dumps(rules).encode())
        for case in self.cases:
            known = [case.name, case.patient, case.ids, case.other_names, case.reference and case.reference.name]
            digest.update(json.dumps(known, default=str).encode())
            try:
                digest.update(file_digest(case.grid_file).encode())
            except OSError as error:
                raise InputError(f"{case.grid_file}: cannot be read ({error.strerror or error}): restore it") from None
        return digest.hexdigest()


def judge(
    entries: Sequence[Entry],
    against: Against,
    folder: Path,
    *,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Verdict], int]:
    """The verdict on each submission, and how many were scored for it; the others were known.

    Args:
        entries: the submissions.
        against: what they are scored against.
        folder: where verdicts are kept.
        jobs: processes; None takes all cores as soon as that pays.
        progress: called with (done, total): submissions, or the cases of a single one.
    """
    verdicts: dict[int, Verdict] = {}
    waiting: dict[str, list[int]] = {}
    rules = against.digest
    for number, key in run_tasks(_Key(rules, against.challenge.needs_probabilities), entries, jobs=jobs):
        if isinstance(key, Verdict):
            verdicts[number] = key
        elif (known := read_verdict(folder / f"{key}.json")) is not None:
            verdicts[number] = known
        else:
            waiting.setdefault(key, []).append(number)
    keys = sorted(waiting, key=lambda key: waiting[key][0])
    firsts = [entries[waiting[key][0]] for key in keys]
    found = _scored(_Score(against, folder), list(zip(firsts, keys, strict=True)), jobs, progress)
    for place, key in enumerate(keys):
        for number in waiting[key]:
            verdicts[number] = found[place]
    return [_named(verdicts[number], entry) for number, entry in enumerate(entries)], len(keys)


def _scored(
    work: _Score, tasks: Sequence[tuple[Entry, str]], jobs: int | None, progress: Callable[[int, int], None] | None
) -> dict[int, Verdict]:
    """The verdict on each task: several side by side, or the cases of a single one."""
    if tasks:
        _check_references(work.against.cases)
    if len(tasks) == 1:
        return {0: work(tasks[0], jobs, progress)}
    found: dict[int, Verdict] = {}
    try:
        for number, verdict in run_tasks(work, tasks, jobs=jobs, progress=progress):
            found[number] = verdict
    except InputError:  # a process died: which submission ends it, shows when each has a process of its own
        for number, task in enumerate(tasks):
            if number in found:
                continue
            try:
                ((_, found[number]),) = run_tasks(work, [task], jobs=2)
            except InputError as error:
                text = printable(f"{task[0].path}: cannot be scored ({error}): try it on a larger machine")
                found[number] = _unnamed(Verdict([text], is_final=False), task[0])
    return found


def _check_references(cases: Sequence[Case]) -> None:
    """Refuse references that cannot be read: a team is not to be told of them.

    Raises:
        InputError: with the problems of each.
    """
    problems: list[str] = []
    for case in cases:
        try:
            if case.reference:
                read_mask(case.reference)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)


@dataclass(frozen=True)
class _Key:
    """Finds the key of a submission, or the reason that it has none; a process can be given it."""

    rules: str
    needs_maps: bool

    def __call__(self, entry: Entry) -> str | Verdict:
        problems, is_final = list(entry.problems), entry.is_final
        try:
            if not problems:
                places = [entry.path, *([entry.maps] if self.needs_maps and entry.maps else [])]
                contents = " ".join(map(content_of, places))
                return hashlib.sha256(f"{self.rules} {contents}".encode()).hexdigest()
        except InputError as error:
            problems, is_final = error.problems, not isinstance(error, MachineError)
        return _unnamed(Verdict(problems, is_final=is_final), entry)


@dataclass(frozen=True)
class _Score:
    """Scores a submission and keeps the verdict; a process can be given it."""

    against: Against
    folder: Path

    def __call__(
        self, task: tuple[Entry, str], jobs: int | None = 1, progress: Callable[[int, int], None] | None = None
    ) -> Verdict:
        entry, key = task
        verdict, path = Verdict(), self.folder / f"{key}.json"
        challenge = self.against.challenge
        journal = path.with_suffix(".partial")
        try:
            frame = score_cases(
                self.against.cases,
                entry.path,
                _METHOD,
                probabilities=(entry.maps or entry.path) if challenge.needs_probabilities else None,
                map_words=words_on_maps_beside(entry.path),
                grid=challenge.grid,
                jobs=jobs,
                complete=challenge.complete,
                synthetic=self.against.synthetic,
                progress=progress,
                on_note=verdict.notes.append,
                journal=journal,
            )
            verdict.rows = [
                {str(name): _plain(value) for name, value in row.items()} for row in frame.to_dict("records")
            ]
        except MachineError as error:
            verdict = Verdict(error.problems, is_final=False)
        except InputError as error:
            verdict.problems = error.problems
        except Exception as error:  # a stranger's file found a fault of ours: the others are scored all the same
            text = printable(f"{entry.path}: cannot be scored ({type(error).__name__}: {error}): report this fault")
            verdict = Verdict([text], is_final=False)
        verdict = _unnamed(verdict, entry)
        if verdict.is_final:
            try:
                write_text(path, json.dumps(asdict(verdict)) + "\n")
                journal.unlink(missing_ok=True)
            except (MachineError, OSError) as error:
                verdict = Verdict([printable(str(error))], is_final=False)
        return verdict


def read_verdict(path: Path) -> Verdict | None:
    """A verdict that was kept; None if there is none, or a damaged one."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        verdict = Verdict(**json.loads(path.read_text(encoding="utf-8")))
        sound = all(isinstance(text, str) for text in (*verdict.problems, *verdict.notes))
        if sound and bool(verdict.rows) != bool(verdict.problems) and verdict.missing is not None:
            if verdict.rows:
                cases_frame(verdict.rows)
            return verdict
    return None


def _plain(value: Any) -> Any:
    """A cell of a frame as JSON has it; None where it is undefined."""
    value = value.item() if hasattr(value, "item") else value
    if value is None or not isinstance(value, str | int | float):
        return None
    return None if isinstance(value, float) and math.isnan(value) else value


def _unnamed(verdict: Verdict, entry: Entry) -> Verdict:
    """A verdict as it is kept: without the submission's name and place, which another copy does not share.

    Nor does it hold advice on options of commands, which its team does not run.
    """
    stem = entry.path.stem if entry.path.suffix.lower() == ".zip" else entry.name
    folder = printable(f"{entry.path.parent}/")

    def without(text: str) -> str:
        # one name begins like the other: v2.zip and v2.probabilities.zip
        return without_options(text).replace(f"{folder}{printable(stem)}", _NAME).replace(folder, "")

    return Verdict([*map(without, verdict.problems)], [*map(without, verdict.notes)], verdict.rows, verdict.is_final)


def _named(verdict: Verdict, entry: Entry) -> Verdict:
    """A verdict as its team reads it: with the submission's name, without the folder that it lies in."""
    stem = entry.path.stem if entry.path.suffix.lower() == ".zip" else entry.name
    problems, notes = (
        [text.replace(_NAME, printable(stem)) for text in texts] for texts in (verdict.problems, verdict.notes)
    )
    return Verdict(problems, notes, verdict.rows, verdict.is_final)
