"""``twin.json``, the manifest of a synthetic twin: what it was written with, and by which version of its generator.

It lies apart from the generator, which needs more than what reads or checks a cohort.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leaderboard.errors import cut

#: File with the arguments, beside the partitions.
MANIFEST = "twin.json"
#: Raised whenever the same arguments would give other bytes than before.
GENERATOR_VERSION = 2
#: The version's key in a manifest.
VERSION = "generator_version"
#: A manifest has a few hundred.
_MOST_BYTES = 1 << 16


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest in a folder; None where there is none, or it is damaged or far too long."""
    path = folder / MANIFEST
    try:
        if not path.is_file():  # a pipe would be waited for
            return None
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        found = json.loads(content.decode("utf-8")) if len(content) <= _MOST_BYTES else None
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def of_another_version(manifest: Mapping[str, Any]) -> str:
    """What is said of a twin that another version of the generator made; empty where it was this one."""
    version = manifest.get(VERSION)
    if version == GENERATOR_VERSION:
        return ""
    other = f"version {cut(str(version))}" if type(version) is int else "another version"
    this = f"and this is version {GENERATOR_VERSION}, whose images differ"
    return f"holds a twin that {other} of the generator made, {this}"
