"""The one way in which this project says that its input is at fault."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class InputError(Exception):
    """The input is at fault; every problem names the file, the fault and the remedy.

    Commands print one line a problem on stderr and exit with status 1, without a traceback. A line break or another
    control character in a problem (a file may carry one in its name) is written as an escape.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        lines = [problems] if isinstance(problems, str) else list(problems)
        self.problems: list[str] = ["".join(map(_printable, line)) for line in lines]
        super().__init__("\n".join(self.problems))


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first few of some names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if names[most:] else "")


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
