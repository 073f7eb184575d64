"""``twin.json``, the manifest of a synthetic twin: what it was written with, and by which version of its generator.

It lies apart from the generator, which needs more than what reads or checks a cohort.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: File with the arguments, beside the partitions.
MANIFEST = "twin.json"
#: Raised whenever the same arguments would give other bytes than before.
GENERATOR_VERSION = 2
#: The version's key in a manifest.
VERSION = "generator_version"


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest in a folder; None where there is none, or it is damaged."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def of_another_version(manifest: Mapping[str, Any]) -> str:
    """What is said of a twin that another version of the generator made; empty where it was this one."""
    if manifest.get(VERSION) == GENERATOR_VERSION:
        return ""
    return (
        f"holds a twin that version {manifest.get(VERSION)} of the generator made, and this is version "
        f"{GENERATOR_VERSION}, whose images differ"
    )
