"""What commands check of their arguments before they import torch, which takes seconds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.rundir.names import CONFIG, PROVENANCE, is_plain_name
from leaderboard.errors import InputError

_METHODS = Path(__file__).parents[1] / "methods"
#: What is wrong with a rule where a network is needed.
RULE = "is a rule without weights: there is nothing to learn"


def require_finished(run: Path, hint: str = "") -> None:
    """Refuse what is not the run directory of a finished job.

    Args:
        run: the folder.
        hint: added to the message.

    Raises:
        InputError: it lacks the files that a finished job has.
    """
    if not (run / CONFIG).is_file() or not (run / PROVENANCE).is_file():
        place = "give .../<method>/fold<k>, or .../<method>/fold<k>/seed<s>"
        raise InputError(f"{run}: holds no finished job ({CONFIG}, {PROVENANCE}): {place}{hint}")


def require_weights(method: str, config: Mapping[str, Any]) -> None:
    """Refuse a rule of this package, told by the text of its module, since importing it would import torch.

    Args:
        method: its name.
        config: its config.

    Raises:
        InputError: it has nothing to learn.
    """
    class_path = str(config.get("model", {}).get("class_path", ""))
    if found := re.fullmatch(r"benchmark\.methods\.(\w+)\.(?:module\.)?(\w+)", class_path):
        module = _METHODS / found[1] / "module.py"
        if module.is_file() and f"class {found[2]}(RuleMethod)" in module.read_text(encoding="utf-8"):
            raise InputError(f"{method}: {RULE}")


def require_file_name(name: str | None) -> None:
    """Refuse a name that leads to another folder.

    Raises:
        InputError: it does.
    """
    if name is not None and not is_plain_name(name):
        raise InputError(f"--name {name!r}: is part of file names: give one without /")


def require_free(out: Path) -> None:
    """Refuse an `out` that cannot take predictions, before an hour is spent on them.

    Raises:
        InputError: it is neither a folder nor a zip, or something else is there.
    """
    if out.suffix == ".zip":
        if out.is_dir():
            raise InputError(f"{out}: is a folder: give another --out")
        return
    if out.suffix in (".gz", ".tgz", ".tar", ".7z", ".rar"):
        raise InputError(f"{out}: an archive must be a .zip: give another --out")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file: give another --out, a folder or a .zip")


def require_folder(out: Path) -> None:
    """Refuse a folder that cannot be made because a file is in its place, or in that of a folder above it.

    Raises:
        InputError: with the file.
    """
    if (there := next((path for path in (out, *out.parents) if path.exists()), None)) and not there.is_dir():
        raise InputError(f"{there}: is a file: give another --out, the folder above the suite's")
