"""The one way in which this project says that its input is at fault."""

from __future__ import annotations

from collections.abc import Iterable


class InputError(Exception):
    """The input is at fault; every problem names the file, the fault and the remedy.

    Commands print one line a problem on stderr and exit with status 1, without a traceback.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems: list[str] = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))
