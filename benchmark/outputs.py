"""Digests of what a job made, so that a file that changed afterwards is noticed and never scored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

#: The weights that predicted.
CHECKPOINT = Path("checkpoints") / "last.ckpt"


def digest_outputs(run: Path, folders: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of the checkpoint and of every mask, by path relative to the run directory.

    Args:
        run: run directory.
        folders: of masks.
    """
    masks = (path for folder in folders for path in sorted(folder.iterdir()))
    return {str(path.relative_to(run)): file_digest(path) for path in (run / CHECKPOINT, *masks)}


def damaged_outputs(run: Path) -> list[str]:
    """Files that are not what the finished job wrote, relative to its run directory; empty where all are sound.

    A provenance that is missing or cannot be read is itself on the list.
    """
    try:
        expected: dict[str, str] = json.loads((run / "provenance.json").read_text(encoding="utf-8"))["outputs"]
    except (OSError, ValueError, TypeError, KeyError):
        return ["provenance.json"]
    return [name for name, digest in expected.items() if file_digest(run / name) != digest]


def file_digest(path: Path) -> str:
    """SHA-256 of a file; empty where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
