"""``benchmark run``: a suite from its config to the printed leaderboard."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmark.cohort.folds import Folds, folds_bytes, folds_within, make_folds, measure_cohort, read_folds
from benchmark.commands.progress import counted
from benchmark.launchers import make_launcher
from benchmark.launchers.slurm import in_queue
from benchmark.machine.precision import slow_precision
from benchmark.rundir.digests import damaged_outputs
from benchmark.rundir.locks import hold, owner
from benchmark.suite.config import SuiteConfig, lacking, method_config, read_suite, settings_faults
from benchmark.suite.config_files import find_config, shipped_configs
from benchmark.suite.overview import Overview
from benchmark.suite.plan import Job, plan_jobs
from benchmark.suite.resume import is_done, prepare_runs, unusable_runs
from leaderboard.cohort.trees import Cohort, read_cohort
from leaderboard.errors import InputError
from leaderboard.io.images import write_bytes


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        config: a suite's config, by path or name.
        cohort: folder of the cohort; None takes the config's twin.
        out: folder above the suite's.
        methods: only these of the suite's methods (or others); None takes all.
        folds: only these; None takes all.
        settings: config over everything else.
        allow_leaky_folds: accept a fold file that splits patients.
        restart_changed: do jobs again whose config, cohort or folds changed.
        launcher: where jobs run, one of `benchmark.launchers.NAMES`.
    """

    config: str
    cohort: Path | None = None
    out: Path = Path("runs")
    methods: tuple[str, ...] | None = None
    folds: tuple[int, ...] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    allow_leaky_folds: bool = False
    restart_changed: bool = False
    launcher: str = "local"


def run(request: Request, console: Console) -> int:
    """Run a suite: cohort, folds, cache, jobs, leaderboard.

    Returns:
        Exit status: 0 when every job is done, 1 when some failed (the leaderboard then holds the complete methods).

    Raises:
        InputError: nothing can be run.
    """
    suite = read_suite(find_config(request.config))
    if suite.wandb:
        from benchmark.training.wandb_sink import wandb_mode

        wandb_mode()
    root = request.out / suite.name
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{root}: cannot be created ({error.strerror or error}): give another --out") from None

    def busy(owner: str) -> None:
        raise InputError(f"{root}: another benchmark run works here ({owner}): wait for it, or give another --out")

    with hold(root, busy):
        return _run_held(request, suite, root, console)


def _run_held(request: Request, suite: SuiteConfig, root: Path, console: Console) -> int:
    """`run`, once the suite's folder is ours."""
    started = time.monotonic()
    asked = request.methods or suite.methods
    _check_configs(suite, asked, request.settings)  # before a cohort is made or read for what cannot run
    folder = request.cohort or _write_twin(suite, root / "cohort", console)
    cohort = read_cohort(folder, "training")
    folds, fold_rows = _folds(suite, cohort, root, request.allow_leaky_folds, console)
    folds_path = root / "folds.csv"
    chosen = _chosen_folds(folds, request.folds)
    cache = request.out / "cache"
    digest = _cohort_digest(cohort, cache, console)
    jobs = plan_jobs(
        suite,
        cohort=folder.resolve(),
        cohort_digest=digest,
        folds_path=folds_path.resolve(),
        folds=folds,
        root=root.resolve(),
        cache=cache.resolve(),
        methods=tuple(dict.fromkeys([*suite.methods, *asked])),
        chosen_folds=chosen,
        settings=request.settings,
        allow_leaky_folds=request.allow_leaky_folds,
    )
    left_out = {job.method: job.lacks for job in jobs if job.method in asked and job.lacks}
    missing = [
        f"{method} and its ablation rows are left out, it needs {', '.join(lacks)}"
        for method, lacks in left_out.items()
    ]
    if missing and (request.methods or len(left_out) == len(asked)):
        raise InputError(missing)
    for line in missing:
        console.print(line, style="yellow", soft_wrap=True, markup=False)
    jobs = [job for job in jobs if job.method not in left_out]
    wanted = [job for job in jobs if job.method in asked]
    if request.launcher == "local":
        queue = in_queue(job.run for job in wanted)
        if queued := [job.run for job in wanted if job.run in queue and not is_done(job)]:
            raise InputError(
                f"{run}: is in SLURM's queue as {queue[run]}: give --launcher slurm, or end it with benchmark cancel"
                for run in queued
            )
        for line in sorted({slow_precision(job.config) for job in wanted} - {""}):
            console.print(line, style="yellow", soft_wrap=True, markup=False)
    for job in wanted:
        if job.state.status == "done" and (damaged := damaged_outputs(job.run)):
            line = f"{job.run}: not as its job left it, done again: {', '.join(damaged)}"
            console.print(line, style="yellow", soft_wrap=True, markup=False)
    launcher = make_launcher(request.launcher, suite, root.resolve(), wanted)
    underway = launcher.underway(wanted)
    unusable = unusable_runs(wanted)
    todo = prepare_runs(
        [job for job in wanted if job.run not in unusable], restart_changed=request.restart_changed, underway=underway
    )
    if not folds_path.is_file() or folds_path.read_bytes() != fold_rows:  # not before the jobs are known to agree
        write_bytes(folds_path, fold_rows)
    if len(todo) + len(unusable) < len(wanted):
        console.print(f"{len(wanted) - len(todo) - len(unusable)} of {len(wanted)} jobs are done already")
    if underway:
        console.print(f"{len(underway)} of {len(wanted)} jobs are under way from an earlier call")
    for job in todo:
        if job.run not in underway and (who := owner(job.run)):
            line = f"{job.method} fold {job.fold}: an earlier call's process works on it ({who}): its end is waited for"
            console.print(line, soft_wrap=True, highlight=False, markup=False)
    ready = time.monotonic()
    with Overview(wanted, console) as overview:
        launcher.run(todo, overview.update)
        overview.update()
    spent = {"cohort and preprocessing": ready - started, "jobs": time.monotonic() - ready}
    undone = [job for job in jobs if not is_done(job)]
    failed = [job for job in undone if job.method in asked]
    for job in failed:
        reason = unusable.get(job.run) or job.state.reason or "its results are not whole: run the same command again"
        log = "" if "log.txt" in reason else f" (log: {job.run / 'log.txt'})"
        console.print(f"failed: {job.method} fold {job.fold}: {reason}{log}", style="red", soft_wrap=True, markup=False)
    # Methods of the suite that an earlier call finished stand on the leaderboard too.
    incomplete = {job.method for job in undone}
    complete = [job for job in jobs if job.method not in incomplete]
    name = "leaderboard" if chosen == _chosen_folds(folds, None) else f"leaderboard-fold{'-'.join(map(str, chosen))}"
    if complete:
        _finish(suite, complete, cohort, folds, root / name, spent, console)
    if others := list(dict.fromkeys(job.method for job in complete if job.method not in asked)):
        line = f"Besides what was asked for, the table holds what earlier calls finished: {', '.join(others)}"
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    for line in missing:
        console.print(line, style="yellow", soft_wrap=True, markup=False)
    return 1 if failed else 0


def _check_configs(suite: SuiteConfig, methods: Sequence[str], settings: dict[str, Any]) -> None:
    """Refuse what would stop every job of a method.

    Raises:
        InputError: every fault, once.
    """
    from benchmark.training.loading import check_configs, quiet_lightning

    quiet_lightning()
    if faults := settings_faults(settings):
        raise InputError(f"--set {fault}" for fault in faults)
    configs = {method: method_config(suite, method, settings) for method in methods}
    if problems := check_configs({method: config for method, config in configs.items() if not lacking(config)}):
        raise InputError(problems)


def _write_twin(suite: SuiteConfig, folder: Path, console: Console) -> Path:
    """The suite's synthetic cohort, written unless it is there."""
    if suite.twin is None:
        raise InputError(f"{suite.path}: needs a cohort: give --cohort DIR, the folder that holds TRAINING")
    from benchmark.cohort.twin import write_twin

    cases, size, seed = suite.twin["cases"], suite.twin["size"], suite.twin.get("seed", 0)
    with counted("synthetic twin", console) as progress:
        write_twin(folder, cases=cases, size=size, seed=seed, progress=progress)
    return folder


def _folds(suite: SuiteConfig, cohort: Cohort, root: Path, leaky: bool, console: Console) -> tuple[Folds, bytes]:
    """The folds of the cases that are there, and what the suite's own copy of its fold file is to hold."""
    path = root / "folds.csv"
    if suite.folds_file is not None:
        source = suite.path.parent / suite.folds_file
        if not source.is_file() and (shipped_configs() / suite.folds_file).is_file():
            source = shipped_configs() / suite.folds_file
        folds = read_folds(source, allow_leaky=leaky)
        rows = source.read_bytes()
    else:
        folds = make_folds(measure_cohort(cohort), suite.folds_number, suite.seed)
        rows = folds_bytes(folds)
        if path.exists():
            known = read_folds(path, allow_leaky=leaky)
            if known.digest != folds.digest:
                console.print(f"{path} differs from what the config would make; using the file", soft_wrap=True)
            folds, rows = known, path.read_bytes()
    present = folds_within(folds, cohort)
    if len(present.fold_of) < len(folds.fold_of):
        console.print(
            f"The fold file names {len(folds.fold_of)} cases, the cohort holds {len(present.fold_of)} of them: "
            "using these"
        )
    return present, rows


def _chosen_folds(folds: Folds, asked: Sequence[int] | None) -> list[int]:
    """The folds to run: those asked for, else all that hold a case."""
    filled = sorted(set(folds.fold_of.values()))
    if unknown := [fold for fold in asked or () if fold not in filled]:
        raise InputError(
            f"--folds {','.join(map(str, unknown))}: no such fold with cases: "
            f"choose among {', '.join(map(str, filled))}"
        )
    chosen = sorted(set(asked)) if asked else filled
    if len(filled) == 1:
        raise InputError(f"{folds.source}: all cases are in fold {filled[0]}, nothing is left to train on: add cases")
    return chosen


def _cohort_digest(cohort: Cohort, cache: Path, console: Console) -> str:
    """Preprocess every case; digest of the cohort's content."""
    from benchmark.pipeline.cache import build_cache, cohort_digest

    with counted("preprocessing", console) as progress:
        build_cache(cohort.cases, cohort.channels, cache, progress)
    return cohort_digest(cohort, cache)


def _finish(
    suite: SuiteConfig,
    jobs: Sequence[Job],
    cohort: Cohort,
    folds: Folds,
    folder: Path,
    spent: Mapping[str, float],
    console: Console,
) -> None:
    """Score, rank and print the methods whose every fold is done; then tell W&B."""
    from benchmark.suite.results import write_results
    from leaderboard.report.terminal import print_leaderboard

    with counted("scoring", console) as progress:
        table = write_results(jobs, cohort, folds, folder, suite.name, progress, spent)
    print_leaderboard(table, console)
    console.print(f"Written to {folder} (index.html is the page)", soft_wrap=True, highlight=False)
    if suite.wandb:
        from benchmark.training.wandb_sink import log_leaderboard

        try:
            log_leaderboard(suite.name, folder, folder.parent)
        except Exception as error:  # W&B is a sink: whatever it does, the results are on disk
            console.print(f"W&B has no leaderboard run ({type(error).__name__}: {error})", markup=False, soft_wrap=True)
