"""Where jobs run. A launcher is one file here with a class of this shape, and one line in `make_launcher`.

Whatever starts it, a job is what ``python -m benchmark job RUN`` does: it says all that there is to say in its run
directory, and continues there when it is started again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.launchers.interface import Launcher
    from benchmark.suite.config import SuiteConfig
    from benchmark.suite.plan import Job

NAMES = ("local", "slurm")


def make_launcher(name: str, suite: SuiteConfig, root: Path, jobs: Sequence[Job]) -> Launcher:
    """The launcher of a name among `NAMES`.

    Args:
        name: what ``--launcher`` says.
        suite: its section of the launcher's name has the launcher's settings.
        root: the suite's folder.
        jobs: what it will have to run.

    Raises:
        InputError: it cannot be used here, or its settings are wrong.
    """
    if name == "slurm":
        from benchmark.launchers.slurm import SlurmLauncher

        return SlurmLauncher(suite.slurm, root / "slurm")
    from benchmark.launchers.local import LocalLauncher
    from benchmark.launchers.slots import slots_for

    return LocalLauncher(slots_for(jobs, suite.threads, suite.jobs_per_gpu))
