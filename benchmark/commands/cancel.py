"""``benchmark cancel``: end a suite's jobs that run elsewhere, such as in SLURM's queue."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from benchmark.commands.suites import open_suite
from benchmark.launchers import LAUNCHERS, make_launcher
from benchmark.rundir.names import fold_folder, fold_folder_name, method_folder, run_directories, seed_folder_name
from benchmark.suite.config_files import find_method
from leaderboard.errors import InputError


def cancel(
    config: str,
    out: Path,
    methods: Collection[str] | None,
    folds: Collection[int] | None,
    seeds: Collection[int] | None = None,
) -> list[Path]:
    """End a suite's jobs, whichever launcher has them; the next run continues them.

    Args:
        config: the suite's, by path or name.
        out: folder above the suite's.
        methods: of these methods only; None takes all.
        folds: of these folds only; None takes all.
        seeds: of these training seeds only; None takes all, and the rules and trainings that have none.

    Returns:
        The run directories of the jobs that were ended.

    Raises:
        InputError: there are no such jobs, or a launcher cannot end its own.
    """
    suite = open_suite(config)
    root = out / suite.name
    for method in methods or ():
        if not (root / method).is_dir():
            find_method(method, suite.path)
    of_folds = None if folds is None else {fold_folder_name(fold) for fold in folds}
    of_seeds = None if seeds is None else {seed_folder_name(seed) for seed in seeds}
    runs = [
        run
        for run in run_directories(root)
        if (methods is None or method_folder(run).name in methods)
        and (of_folds is None or fold_folder(run).name in of_folds)
        and (of_seeds is None or run.name in of_seeds)
    ]
    if not runs:
        raise InputError(f"{root}: holds no jobs of these methods, folds and seeds: give the --out of benchmark run")
    return [run for name in LAUNCHERS for run in make_launcher(name, suite, root).cancel(runs)]
