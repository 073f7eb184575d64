"""Scores as they come, so that an interrupted scoring continues.

One line per case, appended and flushed when the case is done: JSON with a key and the measures. The key is a digest of
the bytes of both files and of the program that measured them. So a result is used again only if the same code would
measure the same bytes, and never after a prediction, a reference or a metric has changed. A line that was cut short is
ignored. JSON writes floats with all digits, so a table made with the help of a journal has the same bytes as one made
without.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import TextIO

from leaderboard.errors import MachineError
from leaderboard.io import digests

#: What the measures depend on: modules of this package, and the packages that these use.
_MODULES = (
    "io/axes.py", "io/digests.py", "io/grids.py", "io/images.py", "io/itk_files.py", "io/masks.py",
    "scoring/lesions.py", "scoring/metrics.py", "scoring/one_case.py", "scoring/probabilities.py", "scoring/surface.py",
)  # fmt: skip
_PACKAGES = ("medpy", "nibabel", "numpy", "scipy", "SimpleITK")


class Journal:
    """The finished cases of one file on disk; use it in a ``with``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._measures = _read(path)
        self._file: TextIO | None = None

    def __enter__(self) -> Journal:
        try:
            ragged = self.path.exists() and self.path.read_bytes()[-1:] not in (b"", b"\n")
            self._file = self.path.open("a", encoding="utf-8", newline="\n")
            if ragged:
                self._file.write("\n")
        except OSError as error:
            raise MachineError(
                f"{self.path}: cannot be written ({error.strerror or error}): check the folder"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    @property
    def holds_any(self) -> bool:
        """Whether there were finished cases when it was opened."""
        return bool(self._measures)

    def find(self, digest: str) -> dict[str, float | str] | None:
        """The measures of the files with this digest, if the same program has measured them."""
        return self._measures.get(_key(digest))

    def add(self, digest: str, measures: dict[str, float | str]) -> None:
        """Keep the measures of the files with this digest."""
        if self._file is None:
            raise ValueError("the journal is not open")
        try:
            self._file.write(json.dumps({"key": _key(digest), "measures": measures}) + "\n")
            self._file.flush()
        except OSError as error:
            raise MachineError(f"{self.path}: cannot be written ({error.strerror or error}): check the disk") from None


def _read(path: Path) -> dict[str, dict[str, float | str]]:
    """Measures by key; damaged lines are ignored."""
    found: dict[str, dict[str, float | str]] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return found
    except OSError as error:
        raise MachineError(f"{path}: cannot be read ({error.strerror or error}): remove it") from None
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
            entry = json.loads(line)
            key, measures = entry["key"], entry["measures"]
            if isinstance(key, str) and isinstance(measures["status"], str):
                found[key] = measures
    return found


def _key(digest: str) -> str:
    return hashlib.sha256(f"{program_digest()}\n{digest}".encode()).hexdigest()


@functools.cache
def program_digest() -> str:
    """Digest of the code that the measures come from."""
    package = resources.files("leaderboard")
    return digests.program_digest(map(package.joinpath, _MODULES), _PACKAGES)
