"""What a launcher is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from benchmark.suite.config import SuiteConfig
    from benchmark.suite.plan import Job

#: Shows the states of the jobs; takes what only the launcher knows, a remark by run directory.
Watch = Callable[[Mapping[Path, str]], None]


class Launcher(Protocol):
    """Starts jobs and waits for them; the outcome of each stands in its state.

    Making one takes nothing but the suite and its folder: it must work where this launcher cannot run jobs.

    Attributes:
        here: jobs run on this machine, so what this machine is slow at concerns them.
    """

    here: ClassVar[bool] = False

    def __init__(self, suite: SuiteConfig, root: Path) -> None:
        """Take note of the suite, whose ``launchers`` holds this launcher's settings, and of its folder."""

    def check(self) -> None:
        """Find out whether jobs can be run this way, before anything is written.

        Raises:
            InputError: something is missing here, or a setting is wrong; every fault is named.
        """

    def at_a_time(self, jobs: Sequence[Job]) -> int:
        """How many of these jobs compute beside each other without slowing each other down; for a forecast."""
        return 1

    def queued_elsewhere(self, runs: Iterable[Path]) -> Mapping[Path, str]:
        """Those run directories whose job an earlier call has handed over and that has not ended, and where it is.

        Raises:
            InputError: whoever has the jobs does not answer.
        """
        return {}

    def run(self, jobs: Sequence[Job], watch: Watch) -> None:
        """Start the jobs that are not queued elsewhere, wait for all, and call `watch` every now and then."""

    def cancel(self, runs: Iterable[Path]) -> list[Path]:
        """End those jobs that are queued elsewhere, so that the next call takes them up again.

        Returns:
            The run directories of those that were ended.

        Raises:
            InputError: whoever has the jobs does not answer, or does not let go of one.
        """
        return []
