"""Progress of work on cases or bytes: a bar on a terminal, one line elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text


class counted:
    """A progress bar that vanishes on a terminal, and one line elsewhere; gives a callback (done, total).

    Args:
        what: what is done.
        console: where to show it.
        unit: of what is counted.
        then: what is done once all is counted.
    """

    def __init__(self, what: str, console: Console, unit: str = "cases", then: str = "") -> None:
        self.what = what
        self.then = then or what
        self.unit = unit
        self.console = console
        counts = (DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (MofNCompleteColumn(),)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), *counts, TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task(what, total=None)
        self._total = 0

    def __enter__(self) -> Callable[[int, int], None]:
        self._progress.start()
        return self._update

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._progress.stop()
        if kind is None and self._total:
            total = decimal(self._total) if self.unit == "bytes" else f"{self._total} {self.unit}"
            self.console.print(Text(f"{self.what}: {total}"), soft_wrap=True)

    def _update(self, done: int, total: int) -> None:
        self._total = total
        self._progress.update(
            self._task, completed=done, total=total, description=self.then if done == total else self.what
        )
