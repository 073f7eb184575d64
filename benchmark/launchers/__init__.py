"""Where jobs run. A launcher is one file here with a class that is a `Launcher`, and one line in `LAUNCHERS`.

Whatever starts it, a job is what ``python -m benchmark job RUN`` does: it reports everything in its run directory, and
continues there when it is started again.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from leaderboard.errors import InputError

if TYPE_CHECKING:
    from benchmark.launchers.interface import Launcher
    from benchmark.suite.config import SuiteConfig

#: The class of each launcher by its name: the value of ``--launcher``, and of its section in a suite's config.
LAUNCHERS = {
    "local": "benchmark.launchers.local.LocalLauncher",
    "slurm": "benchmark.launchers.slurm.SlurmLauncher",
}


def make_launcher(name: str, suite: SuiteConfig, root: Path) -> Launcher:
    """The launcher of that name in `LAUNCHERS`; its module is imported only now.

    Args:
        name: the value of ``--launcher``.
        suite: whose jobs it runs.
        root: the suite's folder.
    """
    module, _, kind = LAUNCHERS[name].rpartition(".")
    launcher: Launcher = getattr(import_module(module), kind)(suite, root)
    return launcher


def refuse_queued_elsewhere(name: str, suite: SuiteConfig, root: Path, runs: Iterable[Path]) -> None:
    """Make sure that no other launcher will run these jobs too; one that does not answer counts as holding none.

    Args:
        name: the launcher that is to run them.
        suite: see `make_launcher`.
        root: see `make_launcher`.
        runs: run directories of the jobs.

    Raises:
        InputError: another launcher holds some of them; all are named.
    """
    runs = list(runs)
    problems = []
    for other in LAUNCHERS.keys() - {name}:
        with suppress(InputError):
            problems += [
                f"{run}: is {place}: give --launcher {other}, or end it with benchmark cancel"
                for run, place in make_launcher(other, suite, root).queued_elsewhere(runs).items()
            ]
    if problems:
        raise InputError(problems)
