"""The interface of a launcher."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from benchmark.suite.config import SuiteConfig
    from benchmark.suite.plan import Job

#: Shows the states of the jobs; takes the launcher's own remarks, by run directory.
Watch = Callable[[Mapping[Path, str]], None]


class Launcher(Protocol):
    """Starts jobs and waits for them; the outcome of each is in its state.

    Making one needs only the suite and its folder: it must work even where this launcher cannot run jobs.

    Attributes:
        here: jobs run on this machine, so precisions that are slow here concern them.
    """

    here: ClassVar[bool] = False

    def __init__(self, suite: SuiteConfig, root: Path) -> None:
        """Keep the suite, whose ``launchers`` holds this launcher's settings, and its folder."""

    def check(self) -> None:
        """Find out whether jobs can be run this way, before anything is written.

        Raises:
            InputError: something is missing here, or a setting is wrong; every fault is named.
        """

    def at_a_time(self, jobs: Sequence[Job]) -> int:
        """How many of these jobs run at a time without slowing each other down; for a forecast."""
        return 1

    def queued_elsewhere(self, runs: Iterable[Path]) -> Mapping[Path, str]:
        """Where the jobs are that an earlier call handed over and that have not ended, by run directory.

        Raises:
            InputError: whatever runs the jobs does not answer.
        """
        return {}

    def run(self, jobs: Sequence[Job], watch: Watch) -> None:
        """Start the jobs that are not queued elsewhere, wait for all, and call `watch` from time to time."""

    def cancel(self, runs: Iterable[Path]) -> list[Path]:
        """End the jobs that are queued elsewhere, so that the next call continues them.

        Returns:
            The run directories of those that were ended.

        Raises:
            InputError: whatever runs the jobs does not answer, or one of them does not end.
        """
        return []
