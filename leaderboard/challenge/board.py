"""The files of a challenge: the page, the tables, results.json and a text for each team.

They are written all or none. If nothing has changed that they depend on, and they are as they were written, they stay;
drawing the page is most of the work of a run that finds nothing new.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import pandas as pd

from leaderboard.cases import cases_csv, cases_frame
from leaderboard.challenge.answers import BEGINS, answer
from leaderboard.challenge.counting import Result
from leaderboard.challenge.settings import Challenge
from leaderboard.cohort.banner import read_banners
from leaderboard.errors import InputError
from leaderboard.io.digests import program_digest
from leaderboard.io.images import write_text
from leaderboard.outputs import prepare_output
from leaderboard.report import PAGE
from leaderboard.report.leaderboard_files import leaderboard_texts, results_text, write_all, written_files
from leaderboard.report.origin import Origin, origin_json, own_version
from leaderboard.report.results_file import BEGINS as RESULTS_BEGIN
from leaderboard.report.results_file import results_file

TEAMS, CASES, TABLE = "teams", "cases.csv", "leaderboard.csv"
#: How files begin that may be replaced, by name.
_BEGINS = {CASES: "method,", TABLE: "rank,", "leaderboard.md": "# Leaderboard", PAGE: "<!doctype html>"}
_DRAWN_WITH = ("jinja2", "matplotlib", "numpy", "pandas", "scipy")


def write_board(results: Sequence[Result], challenge: Challenge, out: Path, stamp: Path) -> bool:
    """Write everything into a folder.

    Args:
        results: of all teams.
        challenge: its title and rules.
        out: the folder, which is made if need be.
        stamp: a file that remembers what was written, and from what.

    Returns:
        Whether anything was written; False if all is as it was.

    Raises:
        InputError: no team is ranked (then only the texts for the teams are written, and an older ranking is removed),
            or a file cannot be written.
    """
    answers = {out / TEAMS / f"{r.team.name}.txt": answer(r, challenge) for r in results if r.team.is_ranked}
    frame, notes = ranked_rows(results), _notes(results, challenge)
    content = [frame is not None and cases_csv(frame), repr(challenge.options), challenge.title, notes, _program()]
    content += [_banner(challenge), {path.name: text for path, text in answers.items()}]
    inputs = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    if frame is not None and _is_as_written(stamp, inputs, out):
        return False
    for path in answers:
        prepare_output(path, begins=BEGINS)
    if frame is None:
        write_all(answers)
        _withdraw(stamp, out, answers)
        raise InputError(f"{challenge.folder}: no team has a submission that counts: {out / TEAMS} says why")
    for name, begins in _BEGINS.items():
        prepare_output(out / name, begins=begins)
    prepare_output(results_file(out / TABLE), begins=RESULTS_BEGIN)
    texts = _tables(frame, challenge, out, notes) | answers
    write_all(texts)
    _remove_others(out / TEAMS, answers)
    digests = {path.relative_to(out).as_posix(): _digest(text.encode()) for path, text in texts.items()}
    write_text(stamp, json.dumps({"inputs": inputs, "files": digests}) + "\n")
    return True


def files_of(out: Path) -> list[Path]:
    """The files that `write_board` writes besides the texts for the teams."""
    return [out / PAGE, out / CASES, *written_files(out / TABLE, latex=True)]


def ranked_rows(results: Sequence[Result]) -> pd.DataFrame | None:
    """The rows of the submissions that count, named as `counting.Result.row` says; None without any."""
    counting = [(result.row, result.counting) for result in results if result.counting]
    rows = [{**row, "method": name} for name, judged in counting for row in judged.verdict.rows]
    return cases_frame(rows) if rows else None


def _tables(frame: pd.DataFrame, challenge: Challenge, out: Path, notes: Mapping[str, str]) -> dict[Path, str]:
    """The page and the tables."""
    from leaderboard.ranking.ranks import analyse  # with the page, a second of imports that most runs do without
    from leaderboard.report.page import render_page

    analysis = analyse(frame, challenge.options)
    origin = Origin(challenge.options, latex=True, version=own_version(), notes=notes)
    page = render_page(analysis, heading=challenge.title, banner=_banner(challenge), notes=notes)
    return {
        **leaderboard_texts(out / TABLE, analysis.table, latex=True),
        (out / TABLE).with_suffix(".json"): origin_json(origin),
        results_file(out / TABLE): results_text(analysis.table, analysis.rows, origin),
        out / CASES: cases_csv(frame),
        out / PAGE: page,
    }


def _notes(results: Sequence[Result], challenge: Challenge) -> dict[str, str]:
    """Facts about the challenge and its submissions for the page and results.json."""
    rule = "best by mean Dice" if challenge.counts == "best" else "latest"
    notes = {"challenge": challenge.title, "which submission counts": f"the {rule} of those accepted"}
    for result in results:
        if result.counting:
            entry = result.counting.entry
            facts = [f"{name}: {text}" for name, text in entry.facts.facts.items()]
            notes[f"submission of {result.team.name}"] = "; ".join([entry.name, *facts])
    return notes


def _banner(challenge: Challenge) -> str:
    """The text for the top of the page that lies beside the references."""
    root = challenge.references.resolve()
    return " ".join(dict.fromkeys(read_banners([root, root.parent])))


def _is_as_written(stamp: Path, inputs: str, out: Path) -> bool:
    """Whether all files are there as they were written from the same inputs."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        known = json.loads(stamp.read_text(encoding="utf-8"))
        if known["inputs"] == inputs:
            return all(_digest((out / name).read_bytes()) == digest for name, digest in known["files"].items())
    return False


def _withdraw(stamp: Path, out: Path, kept: Mapping[Path, str]) -> None:
    """Remove an older ranking, which no longer stands, as far as its files are as they were written."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        for name, digest in json.loads(stamp.read_text(encoding="utf-8"))["files"].items():
            path = out / name
            if path not in kept and path.is_file() and _digest(path.read_bytes()) == digest:
                path.unlink()
        stamp.unlink()


def _remove_others(folder: Path, kept: Mapping[Path, str]) -> None:
    """Remove the texts for teams that are there no more; what else lies there is left."""
    for path in folder.glob("*.txt"):
        if path not in kept and path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(len(BEGINS)) != BEGINS.encode():
                    continue
            path.unlink()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@cache
def _program() -> str:
    """Digest of the program that ranks and draws."""
    return program_digest(sorted(_files(resources.files("leaderboard")), key=str), _DRAWN_WITH)


def _files(folder: Traversable) -> list[Traversable]:
    """The files of the package that matter; results that lie in a clone are none."""
    found: list[Traversable] = []
    for path in folder.iterdir():
        if path.is_dir():
            found += [] if path.name in ("__pycache__", "results") else _files(path)
        elif not path.name.endswith((".pyc", ".md")):
            found.append(path)
    return found
