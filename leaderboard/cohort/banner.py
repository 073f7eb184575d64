"""What must be said wherever a cohort's results are shown: its ``banner.txt``, above all that it is synthetic."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from leaderboard.errors import InputError

#: A file of this name beside a table or in a cohort holds what the page must say at its top.
BANNER = "banner.txt"
#: What is said of results on invented patients.
SYNTHETIC = (
    "Synthetic twin: these are results on invented patients, made to test the programs. They are not ISLES results and "
    "say nothing about how methods do on real scans."
)


def read_banners(folders: Iterable[Path]) -> list[str]:
    """What the banners in some folders say, each text once.

    Raises:
        InputError: one cannot be read.
    """
    found = []
    for file in (folder / BANNER for folder in folders):
        try:
            if file.is_file():
                found.append(file.read_text(encoding="utf-8").strip())
        except (OSError, ValueError) as error:
            raise InputError(f"{file}: cannot be read as text ({error}): correct it") from None
    return list(dict.fromkeys(found))


def is_synthetic(root: Path) -> bool:
    """Whether the banner of a cohort, or of the cohort that a folder of its masks lies in, says that it is synthetic.

    Raises:
        InputError: a banner cannot be read.
    """
    root = root.resolve()
    return any("synthetic" in text.lower() for text in read_banners([root, root.parent]))
