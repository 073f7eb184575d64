"""What a launcher is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from benchmark.suite.plan import Job

#: Shows the states of the jobs; takes what only the launcher knows, a remark by run directory.
Watch = Callable[[Mapping[Path, str]], None]


class Launcher(Protocol):
    """Starts jobs and waits for them; the outcome of each stands in its state."""

    def underway(self, jobs: Sequence[Job]) -> Collection[Path]:
        """Run directories of those jobs that an earlier call has started and that have not ended."""

    def run(self, jobs: Sequence[Job], watch: Watch) -> None:
        """Start the jobs that are not under way, wait for all, and call `watch` every now and then."""
