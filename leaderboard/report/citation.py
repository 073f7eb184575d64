"""How to cite the program and the results, for the page: the facts of CITATION.cff, which is not in the wheel."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import NamedTuple

#: As CITATION.cff has them; a test keeps them equal.
TITLE = "isles-benchmark"
AUTHORS = ("The isles-benchmark authors",)
MESSAGE = "If you use this software, please cite it, and the papers of the methods and data that you used."
#: The note with the commit of the program that made the results, if the page is given one.
COMMIT = "commit"


class Citation(NamedTuple):
    """What the page prints."""

    message: str  #: what to cite
    bibtex: str  #: an entry for the program, with its version, and its commit if it is known


def citation(notes: Mapping[str, str]) -> Citation:
    """The BibTeX entry of the program; `notes` are those of the page."""
    fields = {"title": f"{{{TITLE}}}", "author": " and ".join(f"{{{name}}}" for name in AUTHORS)}
    if version := _version():
        fields["version"] = version
    if commit := notes.get(COMMIT):
        fields["note"] = f"commit {_plain(commit)}"
    lines = ",\n".join(f"  {key} = {{{value}}}" for key, value in fields.items())
    return Citation(MESSAGE, f"@software{{{TITLE},\n{lines}\n}}\n")


def _version() -> str:
    try:
        return importlib.metadata.version(TITLE)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _plain(text: str) -> str:
    """A text without what BibTeX reads as its own."""
    return "".join(letter for letter in text if letter not in '{}\\@%#~^$&"')
