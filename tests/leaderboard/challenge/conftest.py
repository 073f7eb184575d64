"""A small challenge: three cases of 8 x 9 x 2 voxels, and teams whose masks are the references, shifted."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from leaderboard.cli import main
from leaderboard.report import page

NAMES = ("case_1.nii.gz", "case_2.nii.gz", "case_3.nii.gz")
SHAPE = (8, 9, 2)
#: Seconds since 1970 of 2026-01-01 12:00 UTC; submissions come an hour apart.
NOON = 1_767_268_800


def reference(number: int) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:5, 2 : 4 + number, 0] = 1
    return mask


class Small:
    """A challenge in a folder."""

    def __init__(self, folder: Path, image: Callable[..., Path]) -> None:
        self.folder, self.board, self._image, self._hours = folder, folder / "board", image, 0
        for number, name in enumerate(NAMES, start=1):
            image(folder / "references" / name, reference(number))
        self.settings("")

    def settings(self, further: str) -> None:
        text = "title: Small\nreferences: references\nresamples: 40\n"
        (self.folder / "challenge.yaml").write_text(text + further)

    def masks(
        self, shift: int, names: Sequence[str] = NAMES, shape: Sequence[slice] = (), **settings: object
    ) -> dict[str, bytes]:
        """Masks that are the references shifted, as files."""
        found = {}
        for number, name in enumerate(NAMES, start=1):
            if name in names:
                mask = np.roll(reference(number), shift, axis=0)[tuple(shape)]
                found[name] = self._image(self.folder / "scratch" / name, mask, **settings).read_bytes()
        return found

    def submit(self, team: str, name: str, files: Mapping[str, bytes] | int, **extra: str) -> Path:
        """Hand in a zip (or by its name a folder) an hour after the one before; `extra` goes to submission.yaml."""
        files = self.masks(files) if isinstance(files, int) else files
        path = self.folder / "submissions" / team / name
        path.parent.mkdir(parents=True, exist_ok=True)
        inside = {
            **files,
            **({"submission.yaml": "".join(f"{k}: {v}\n" for k, v in extra.items()).encode()} if extra else {}),
        }
        if path.suffix == ".zip":
            with zipfile.ZipFile(path, "w") as archive:
                for member, content in inside.items():
                    archive.writestr(member, content)
            written = [path]
        else:
            path.mkdir()
            written = [path / member for member in inside]
            for member, content in inside.items():
                (path / member).write_bytes(content)
        self._hours += 1
        for file in written:
            self.at(file, self._hours)
        return path

    def at(self, path: Path, hours: float) -> None:
        """Set the time of a file, in hours after noon."""
        os.utime(path, (NOON + 3600 * hours, NOON + 3600 * hours))

    def run(self, *options: str) -> int:
        return main(["challenge", str(self.folder), "--jobs", "1", *options])

    def answer(self, team: str) -> str:
        return (self.board / "teams" / f"{team}.txt").read_text()

    def rows(self) -> dict[str, list[str]]:
        """The lines of cases.csv by team."""
        found: dict[str, list[str]] = {}
        for line in (self.board / "cases.csv").read_text().splitlines()[1:]:
            found.setdefault(line.partition(",")[0], []).append(line)
        return found


@pytest.fixture
def without_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is not drawn, which takes most of the time."""
    monkeypatch.setattr(page, "render_page", lambda analysis, **_: f"<!doctype html>{len(analysis.table)}")


@pytest.fixture
def small(tmp_path: Path, isles_tree) -> Small:
    return Small(tmp_path / "challenge", isles_tree.image)
