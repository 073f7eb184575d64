"""Digests of what a job made, so that a file that changed afterwards is noticed and never scored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from leaderboard.errors import InputError
from leaderboard.io.images import write_text

#: The weights that predicted.
CHECKPOINT = Path("checkpoints") / "last.ckpt"
CONFIG, PROVENANCE = Path("config.yaml"), Path("provenance.json")
#: What a finished job has besides its masks; a rule has no metrics, and a short training no best weights.
_FILES = (CHECKPOINT, Path("checkpoints") / "best.ckpt", Path("metrics.csv"), CONFIG)


def digest_outputs(run: Path, folders: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of what the job keeps and of every mask, by path relative to the run directory.

    Args:
        run: run directory.
        folders: of masks.
    """
    masks = (path for folder in folders for path in sorted(folder.iterdir()))
    files = [run / name for name in _FILES if (run / name).exists()]
    return {str(path.relative_to(run)): file_digest(path) for path in (*files, *masks)}


def damaged_outputs(run: Path) -> list[str]:
    """Files that are not what the finished job wrote, relative to its run directory; empty where all are sound.

    A provenance that is missing or damaged is itself on the list.
    """
    try:
        expected: dict[str, str] = read_provenance(run)["outputs"]
    except InputError:
        return [PROVENANCE.name]
    return [name for name, digest in expected.items() if file_digest(run / name) != digest]


def write_provenance(run: Path, content: dict[str, Any]) -> None:
    """Write ``provenance.json`` with a digest of its own content, so that a change to it is noticed too."""
    write_text(run / PROVENANCE, json.dumps(content | {"sha256": _digest(content)}, indent=1) + "\n", durable=True)


def read_provenance(run: Path) -> dict[str, Any]:
    """The content of a run directory's ``provenance.json``.

    Raises:
        InputError: it is missing or is not what was written.
    """
    try:
        content: dict[str, Any] = json.loads((run / PROVENANCE).read_text(encoding="utf-8"))
        if content.pop("sha256") == _digest(content):
            return content
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        pass
    raise InputError(f"{run / PROVENANCE}: is missing or damaged: run the suite again")


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def needs_training(damaged: Iterable[str]) -> bool:
    """Whether what `damaged_outputs` names takes a training to make again.

    The checkpoint gives masks again without one, and whoever starts a job writes its config.
    """
    return any(name != CONFIG.name and not name.endswith(".nii.gz") for name in damaged)


def file_digest(path: Path) -> str:
    """SHA-256 of a file; empty where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
