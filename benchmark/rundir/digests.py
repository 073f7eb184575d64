"""Digests of the files that a job made, so that a file that changed afterwards is noticed and never scored."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmark.rundir.names import BEST, CONFIG, LAST, METRICS, PROBABILITIES, PROVENANCE
from benchmark.rundir.sealed import read_sealed, write_sealed
from leaderboard.errors import InputError
from leaderboard.io import digests

#: Files of a finished job besides what it predicted; a rule has no metrics, and a short training has no best weights.
_FILES = (LAST, BEST, METRICS, CONFIG)
#: The entries of a provenance that commands rely on, with their types.
_SHAPE = {
    "outputs": {"*": str},
    "ablations": [str],
    "cohort": {"format": str, "partition": str, "cases": {"*": {"sha256": str}}},
    "costs": {},
    "packages": {},
    "hardware": {},
    "git": dict | None,
}


def digest_results(run: Path, folders: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of each file that the job keeps and of all that it predicted, by path relative to the run directory.

    Args:
        run: run directory.
        folders: of masks and maps.
    """
    predicted = (path for folder in folders for path in sorted(folder.iterdir()))
    files = [run / name for name in _FILES if (run / name).exists()]
    return {str(path.relative_to(run)): remembered_digest(path) for path in (*files, *predicted)}


def damaged_results(run: Path) -> list[str]:
    """Files that are no longer what the finished job wrote, relative to its run directory; empty if all are sound.

    A provenance that is missing or damaged is itself on the list.
    """
    try:
        expected: dict[str, str] = read_provenance(run, "outputs")["outputs"]
    except InputError:
        return [PROVENANCE]
    return [name for name, digest in expected.items() if not is_inside(name) or remembered_digest(run / name) != digest]


def map_digests(provenance: dict[str, Any]) -> dict[str, str]:
    """The SHA-256 of each probability map that a job wrote, by path relative to its run directory; none if it has none.

    Args:
        provenance: from `read_provenance`.
    """
    return {name: digest for name, digest in provenance["outputs"].items() if name.startswith(f"{PROBABILITIES}/")}


def is_inside(name: str) -> bool:
    """Whether a relative path stays within the run directory."""
    return not Path(name).is_absolute() and ".." not in Path(name).parts


def write_provenance(run: Path, content: dict[str, Any]) -> None:
    """Write ``provenance.json``, which a job writes last."""
    write_sealed(run / PROVENANCE, content, durable=True)


def read_provenance(run: Path, *needed: str) -> dict[str, Any]:
    """The content of a run directory's ``provenance.json``.

    Args:
        run: run directory.
        needed: keys that must be there, with dots between levels.

    Raises:
        InputError: it is missing or damaged, lacks what is needed, or has entries of the wrong type.
    """
    content = read_sealed(run / PROVENANCE)
    if content is None or not _fits(content, _SHAPE) or not all(_holds(content, name.split(".")) for name in needed):
        raise InputError(f"{run / PROVENANCE}: is missing or damaged: run the suite again")
    return content


def _fits(value: Any, shape: Any) -> bool:
    """Whether a value has a shape: a type, or a mapping or list of shapes (``*`` stands for all other names)."""
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(
            _fits(inner, shape.get(name, shape.get("*", object))) for name, inner in value.items()
        )
    if isinstance(shape, list):
        return isinstance(value, list) and all(_fits(inner, shape[0]) for inner in value)
    return isinstance(value, shape)


def _holds(content: Any, names: list[str]) -> bool:
    for name in names:
        if name not in content:
            return False
        content = content[name]
    return True


def needs_training(damaged: Iterable[str]) -> bool:
    """Whether repairing what `damaged_results` names needs a training.

    Masks and maps only need the checkpoint, and the config is written whenever a job is started.
    """
    return any(name != CONFIG and not name.endswith(".nii.gz") for name in damaged)


def remembered_digest(path: Path) -> str:
    """SHA-256 of a file; empty if there is none, or if it is not a regular file.

    A process reads a file once, and again only if its size, modification time or inode has changed.
    """
    try:
        if not path.is_file():  # a device may have no end
            return ""
        status = path.stat()
        return _content_digest(path, (status.st_ino, status.st_size, status.st_mtime_ns))
    except OSError:
        return ""


@functools.cache
def _content_digest(path: Path, _identity: tuple[int, ...]) -> str:
    return digests.file_digest(path)
