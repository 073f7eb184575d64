"""JSON files that hold a digest of their own content, so that damage is noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leaderboard.io.images import write_text


def write_sealed(path: Path, content: Mapping[str, Any], *, durable: bool = False) -> None:
    """Write a JSON object with the digest of its content under ``sha256``, atomically.

    Args:
        path: the file.
        content: JSON values by name, without a key ``sha256``.
        durable: make sure that it survives a power cut from now on.
    """
    write_text(path, json.dumps({**content, "sha256": _digest(content)}, indent=1) + "\n", durable=durable)


def read_sealed(path: Path) -> dict[str, Any] | None:
    """What `write_sealed` wrote; None if the file is missing or its digest does not fit."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content if content.pop("sha256") == _digest(content) else None
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return None


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
