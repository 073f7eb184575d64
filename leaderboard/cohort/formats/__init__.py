"""Cohorts on disk: which format a folder is in, and its cases."""

from __future__ import annotations

from pathlib import Path

from leaderboard.cohort.case import PARTITIONS, Partition
from leaderboard.cohort.formats import isles2017, isles2018, isles2022, isles2024, isles2026, manifest, nnunet
from leaderboard.cohort.formats.interface import Cohort, Format
from leaderboard.errors import InputError, unknown
from leaderboard.io import GRID_RULES

__all__ = ["FORMATS", "Cohort", "Format", "check_choices", "find_format", "read_cohort", "scan_cohort"]

_MODULES = (manifest, nnunet, isles2026, isles2024, isles2022, isles2017, isles2018)
#: By name, in the order in which a folder is compared with them.
FORMATS: dict[str, Format] = {module.FORMAT.name: module.FORMAT for module in _MODULES}


def check_choices(partition: object, format_name: object, grid: object) -> None:
    """Refuse what is no partition (or None), format (or None) or rule for grids, of a program that calls us.

    Raises:
        InputError: with a line for each.
    """
    given = (("partition", partition, (None, *PARTITIONS)), ("format_name", format_name, (None, *FORMATS)))
    choices = [*given, ("grid", grid, GRID_RULES)]
    wrong = [
        unknown(name, value, [word for word in known if word]) for name, value, known in choices if value not in known
    ]
    if wrong:
        raise InputError(wrong)


def find_format(root: Path, name: str | None = None) -> tuple[Format, dict[Partition, Path]]:
    """The format that a folder is in, and the folder of each partition.

    Args:
        root: the cohort's folder, or one of its partitions.
        name: one of `FORMATS`; None recognises it.

    Raises:
        InputError: `root` is no folder, or holds no cohort (of that format), or `name` is unknown.
    """
    if not root.is_dir():
        fault = "is not a folder" if root.exists() else "does not exist"
        raise InputError(f"{root}: {fault}: give the folder of the cohort")
    if name is not None and name not in FORMATS:
        raise InputError(f"there is no format {name}: choose among {', '.join(FORMATS)}")
    candidates = [FORMATS[name]] if name else list(FORMATS.values())
    for candidate in candidates:
        if partitions := candidate.find(root):
            return candidate, partitions
    looked_for = FORMATS[name].tree if name else f"in any format of {', '.join(FORMATS)}"
    raise InputError(f"{root}: holds no cases ({looked_for}): give the folder above them")


def scan_cohort(root: Path, partition: Partition | None = None, format_name: str | None = None) -> Cohort:
    """Read the tree's names (no image) and collect, not raise, what is wrong with single cases.

    Args:
        root: the cohort's folder, or one of its partitions.
        partition: which partition; None picks training where it is present.
        format_name: one of `FORMATS`; None recognises it.

    Raises:
        InputError: there is no such folder, format or partition.
    """
    found, partitions = find_format(root, format_name)
    if partition is None:
        partition = next(name for name in PARTITIONS if name in partitions)
    if partition not in partitions:
        raise InputError(f"{root}: has no {partition} cases: choose --partition {next(iter(partitions))}")
    return found.scan(root, partition)


def read_cohort(root: Path, partition: Partition | None = None, format_name: str | None = None) -> Cohort:
    """The cohort under `root`, refusing a tree with missing or doubled images.

    An unknown patient is no obstacle to reading; whoever splits by patient must refuse it.

    Raises:
        InputError: with every structural problem of the tree.
    """
    cohort = scan_cohort(root, partition, format_name)
    if cohort.problems:
        raise InputError(problem.text for problem in cohort.problems)
    return cohort
