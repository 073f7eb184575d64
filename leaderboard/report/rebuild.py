"""Makes a published leaderboard again from its cases.csv, and finds every cell that differs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leaderboard.cases import read_cases
from leaderboard.errors import InputError
from leaderboard.ranking.options import STRATA
from leaderboard.ranking.ranks import rank_methods
from leaderboard.ranking.strata import rank_strata
from leaderboard.report.differences import Difference, compare, read_sheet
from leaderboard.report.leaderboard_files import leaderboard_texts, results_text
from leaderboard.report.origin import Origin, origin_of_rows, read_origin
from leaderboard.report.published import PUBLISHED, read_published
from leaderboard.report.results_file import RESULTS

CASES, TABLE, ORIGIN = "cases.csv", "leaderboard.csv", "leaderboard.json"


@dataclass(frozen=True)
class Verdict:
    """The result of making a leaderboard again."""

    folder: Path  #: of the leaderboard
    origin: Origin  #: how it was ranked
    compared: list[str]  #: the files that were made again
    cells: int  #: how many cells they have
    differences: list[Difference]  #: the published value first, the one made again second
    others: list[str]  #: files of the folder that are not made from scores and were not compared
    given: bool = False  #: whether other tables than the folder's own cases.csv were ranked


def find_results(root: Path) -> list[Path]:
    """`root` if it is a result folder (with a cases.csv or a leaderboard.csv), or the result folders in it.

    Raises:
        InputError: there is none.
    """
    if _is_result(root):
        return [root]
    found = sorted(filter(_is_result, root.glob("*")))
    if not found:
        raise InputError(
            f"{root}: holds no leaderboard: give a folder with a {CASES} and the {TABLE} made from it, or a folder of "
            "such folders (a run directory is for benchmark verify)"
        )
    return found


def _is_result(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (CASES, TABLE))


def origin_of(folder: Path) -> Origin:
    """How the leaderboard of a folder was made: from its leaderboard.json, otherwise from what its other files tell.

    Raises:
        InputError: the leaderboard.json is at fault.
    """
    if (folder / ORIGIN).exists():
        return read_origin(folder / ORIGIN)
    try:
        rows = list(csv.DictReader(io.StringIO(_published(folder / TABLE) or "")))
    except csv.Error:
        rows = []
    markdown = _published((folder / TABLE).with_suffix(".md")) or ""
    quoted = next((name for name in PUBLISHED if read_published(name).source in markdown), "")
    by = next((by for by in STRATA if any(folder.glob(f"leaderboard_by_{by}.*"))), "")
    return Origin(origin_of_rows(rows).options, quoted, by, (folder / TABLE).with_suffix(".tex").exists())


def rebuild(folder: Path, origin: Origin, tables: Sequence[Path] = ()) -> dict[str, str]:
    """Text by file name, from a folder's cases.csv.

    Args:
        folder: of the leaderboard.
        origin: how it was made.
        tables: files of rows to rank instead of its cases.csv.

    Raises:
        InputError: the rows or the settings are at fault.
    """
    if not tables and not (folder / CASES).is_file():
        raise InputError(f"{folder}: holds no {CASES}: put it there, or give the tables that were ranked with --cases")
    cases = read_cases(tables or folder / CASES)
    table = rank_methods(cases, origin.options)
    texts = leaderboard_texts(
        folder / TABLE,
        table,
        published=read_published(origin.published) if origin.published else None,
        latex=origin.latex,
        strata=rank_strata(cases, origin.by, origin.options) if origin.by else {},
        by=origin.by,
    )
    if (folder / RESULTS).is_file() and (folder / ORIGIN).is_file():  # which has the version that is in it
        texts[folder / RESULTS] = results_text(table, cases, origin)
    return {path.name: text for path, text in texts.items()}


def verify(folder: Path, tables: Sequence[Path] = ()) -> Verdict:
    """Make a leaderboard again and compare every cell, and if all agree every byte.

    Args:
        folder: of the leaderboard; nothing in it is changed.
        tables: files of rows to rank instead of its cases.csv.

    Raises:
        InputError: its cases.csv is missing, or it, the settings or a published file is at fault.
    """
    origin = origin_of(folder)
    texts = rebuild(folder, origin, tables)
    differences, cells = list[Difference](), 0
    for name, text in texts.items():
        cells += sum(map(len, read_sheet(name, text).rows.values()))
        published = _published(folder / name)
        if published is None:
            differences.append(Difference(name, "", "", None, "there"))
            continue
        try:
            differences += compare(name, published, text)
        except csv.Error as error:
            raise InputError(f"{folder / name}: is not a table ({error}): ask for another copy") from None
    others = sorted(path.name for path in folder.iterdir() if path.name not in {*texts, CASES, ORIGIN})
    stem = Path(TABLE).stem
    surplus = [name for name in others if name.startswith(stem) and Path(name).suffix in (".csv", ".md", ".tex")]
    differences += [Difference(name, "", "", "there", None) for name in surplus]
    others = [name for name in others if name not in surplus]
    return Verdict(folder, origin, list(texts), cells, differences, others, bool(tables))


def _published(path: Path) -> str | None:
    """The text of a file; None if there is none. Bytes that are not UTF-8 are shown as escapes."""
    try:
        return path.read_bytes().decode(errors="backslashreplace") if path.is_file() else None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}): check its permissions") from None
