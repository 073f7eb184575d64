"""What ``benchmark run`` is going to do, found out before any job starts: cohort, folds, jobs, and where they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmark.cohort.folds import Folds, folds_bytes, folds_within, make_folds, measure_cohort, read_fold_file
from benchmark.commands.progress import counted
from benchmark.launchers import make_launcher, refuse_queued_elsewhere
from benchmark.launchers.interface import Launcher
from benchmark.machine.precision import slow_precision
from benchmark.rundir.digests import damaged_results
from benchmark.rundir.names import FOLDS
from benchmark.suite.config import SuiteConfig, command_line_faults, is_rule, lacking, method_config
from benchmark.suite.config_files import shipped_configs
from benchmark.suite.plan import Job, plan_jobs
from benchmark.suite.resume import has_begun, is_done, prepare_runs, unusable_runs
from leaderboard.cohort.formats import Cohort, read_cohort
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
        launcher: where jobs run, one of `benchmark.launchers.LAUNCHERS`.
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


@dataclass(frozen=True)
class Plan:
    """What a call is going to do.

    Attributes:
        suite: the suite.
        root: its folder.
        cohort: the cases.
        folds: theirs.
        chosen: the folds to run.
        jobs: all that may stand on the leaderboard, those of methods that were not asked for included.
        wanted: those that were asked for.
        left_out: a line for each method that needs what is not installed.
        damaged: of finished jobs that are to be done again, by run directory, the files that are not what they left.
        launcher: runs the jobs.
        queued: of the wanted jobs, the run directories that an earlier call has handed over to the launcher.
        unusable: of the wanted jobs, the run directories that cannot be written to, with the reason.
        todo: the wanted jobs that are not done, those that are queued included.
        fold_file: what the suite's own copy of its fold file is to hold.
    """

    suite: SuiteConfig
    root: Path
    cohort: Cohort
    folds: Folds
    chosen: list[int]
    jobs: list[Job]
    wanted: list[Job]
    left_out: list[str]
    damaged: dict[Path, list[str]]
    launcher: Launcher
    queued: set[Path]
    unusable: dict[Path, str]
    todo: list[Job]
    fold_file: bytes

    @property
    def leaderboard(self) -> Path:
        """Where the results go: a part of the folds has a folder of its own."""
        part = "" if self.chosen == _chosen_folds(self.folds, None) else f"-fold{'-'.join(map(str, self.chosen))}"
        return self.root / f"leaderboard{part}"


def check_request(request: Request, suite: SuiteConfig, root: Path) -> tuple[Launcher, list[str]]:
    """Find out what can be known before anything is made: whether jobs can run as asked, their settings, the folds.

    Args:
        request: what the command line asks for.
        suite: read from its config.
        root: the suite's folder, which may not exist.

    Returns:
        What runs the jobs, and what is to be said of how they will run.

    Raises:
        InputError: nothing can be run.
    """
    if request.cohort is None and suite.twin is None:
        raise InputError(f"{suite.path}: needs a cohort: give --cohort DIR, the folder that holds TRAINING")
    launcher = make_launcher(request.launcher, suite, root.resolve())
    launcher.check()
    configs = _checked_configs(suite, request.methods or suite.methods, request.settings)
    notes = _accept_precision(configs, request.settings, root) if launcher.here else []
    if request.folds and request.cohort is None and not (root / FOLDS).exists():  # else before anything is written too
        _refuse_unknown(request.folds, _possible_folds(suite, request.allow_leaky_folds))
    return launcher, notes


def make_plan(request: Request, suite: SuiteConfig, root: Path, launcher: Launcher, console: Console) -> Plan:
    """Cohort, folds, cache and jobs; run directories are left as they are.

    Args:
        request: what the command line asks for.
        suite: read from its config.
        root: the suite's folder, which is ours.
        launcher: what `check_request` gave.
        console: shows progress.

    Raises:
        InputError: nothing can be run.
    """
    asked = request.methods or suite.methods
    folder = request.cohort or _write_twin(suite, root / "cohort", console)
    cohort = read_cohort(folder, "training")
    folds, fold_file = _folds(suite, cohort, root, request.allow_leaky_folds, console)
    chosen = _chosen_folds(folds, request.folds)
    cache = request.out / "cache"
    jobs = plan_jobs(
        suite,
        cohort=folder.resolve(),
        cohort_digest=_cohort_digest(cohort, cache, console),
        folds_path=(root / FOLDS).resolve(),
        folds=folds,
        root=root.resolve(),
        cache=cache.resolve(),
        methods=tuple(dict.fromkeys([*suite.methods, *asked])),
        chosen_folds=chosen,
        settings=request.settings,
        allow_leaky_folds=request.allow_leaky_folds,
    )
    left_out = _left_out([job for job in jobs if job.method in asked])
    if left_out and (request.methods or len(left_out) == len(asked)):
        raise InputError(left_out.values())
    jobs = [job for job in jobs if job.method not in left_out]
    wanted = [job for job in jobs if job.method in asked]
    done = [job.run for job in wanted if job.state.status == "done"]
    damaged = {run: names for run in done if (names := damaged_results(run))}
    unusable = unusable_runs(wanted)
    return Plan(
        suite, root, cohort, folds, chosen, jobs, wanted, list(left_out.values()), damaged, launcher,
        queued=set(launcher.queued_elsewhere(job.run for job in wanted)),
        unusable=unusable,
        todo=[job for job in wanted if job.run not in unusable and not is_done(job)],
        fold_file=fold_file,
    )  # fmt: skip


def prepare(plan: Plan, request: Request) -> None:
    """Run directories and the suite's own fold file, ready for the jobs.

    Raises:
        InputError: jobs are under way elsewhere, or hold work on other inputs; nothing was changed.
    """
    undone = [job.run for job in plan.wanted if not is_done(job)]
    refuse_queued_elsewhere(request.launcher, plan.suite, plan.root.resolve(), undone)
    usable = [job for job in plan.wanted if job.run not in plan.unusable]
    prepare_runs(usable, restart_changed=request.restart_changed, underway=plan.queued)
    path = plan.root / FOLDS
    if not path.is_file() or path.read_bytes() != plan.fold_file:
        write_bytes(path, plan.fold_file)  # not before the jobs are known to agree


def _left_out(jobs: Sequence[Job]) -> dict[str, str]:
    """What is said of each method that needs what is not installed, by name."""
    return {
        job.method: f"{job.method} and its ablation rows are left out, it needs {', '.join(lacks)}"
        for job in jobs
        if (lacks := job.lacks)
    }


def _checked_configs(suite: SuiteConfig, methods: Sequence[str], settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The config of each method; what would stop every job of one is refused.

    Raises:
        InputError: every fault, once.
    """
    from benchmark.training.loading import check_configs, quiet_lightning

    quiet_lightning()
    if faults := command_line_faults(settings):
        raise InputError(f"--set {fault}" for fault in faults)
    configs = {method: method_config(suite, method, settings) for method in methods}
    if problems := check_configs({method: config for method, config in configs.items() if not lacking(config)}):
        raise InputError(problems)
    return configs


def _accept_precision(configs: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any], root: Path) -> list[str]:
    """Refuse to begin trainings that would take tens of times as long as they could.

    Args:
        configs: by method; rules are as quick in any precision.
        settings: of the command line; a precision that it names is taken.
        root: the suite's folder; where all have begun in it, they go on as they are.

    Returns:
        What is to be said of those that are slow and go on.

    Raises:
        InputError: so it is.
    """
    slow: dict[str, list[str]] = {}
    for method, config in configs.items():
        if (line := slow_precision(config)) and not is_rule(config):
            slow.setdefault(line, []).append(method)
    said = [f"{', '.join(methods)}: {line}" for line, methods in slow.items()]
    begun = [method for method in configs if any(map(has_begun, (root / method).glob("fold*")))]
    if "precision" not in settings.get("trainer", {}) and any(set(methods) - set(begun) for methods in slow.values()):
        raise InputError(f"{line} (a precision named with --set is taken, this one too)" for line in said)
    return said


def _write_twin(suite: SuiteConfig, folder: Path, console: Console) -> Path:
    """The suite's synthetic cohort, written unless it is there."""
    from benchmark.cohort.twin import write_twin

    assert suite.twin is not None  # `check_request`
    cases, size, seed = suite.twin["cases"], suite.twin["size"], suite.twin.get("seed", 0)
    with counted("synthetic twin", console) as progress:
        write_twin(folder, cases=cases, size=size, seed=seed, progress=progress)
    return folder


def _folds(suite: SuiteConfig, cohort: Cohort, root: Path, leaky: bool, console: Console) -> tuple[Folds, bytes]:
    """The folds of the cases that are there, and what the suite's own copy of its fold file is to hold."""
    path = root / FOLDS
    if (source := _named_fold_file(suite)) is not None:
        folds = read_fold_file(source, allow_leaky=leaky)
        content = source.read_bytes()
    else:
        folds = make_folds(measure_cohort(cohort), suite.folds_number, suite.seed)
        content = folds_bytes(folds)
        if path.exists():
            known = read_fold_file(path, allow_leaky=leaky)
            if known.digest != folds.digest:
                console.print(
                    f"{path} differs from what the config would make; using the file", soft_wrap=True, markup=False
                )
            folds, content = known, path.read_bytes()
    present = folds_within(folds, cohort)
    if len(present.fold_of) < len(folds.fold_of):
        console.print(
            f"The fold file names {len(folds.fold_of)} cases, the cohort holds {len(present.fold_of)} of them: "
            "using these"
        )
    return present, content


def _named_fold_file(suite: SuiteConfig) -> Path | None:
    """The fold file that the config names, beside it or a shipped one; None where folds are made."""
    if suite.folds_file is None:
        return None
    beside, shipped = suite.path.parent / suite.folds_file, shipped_configs() / suite.folds_file
    return shipped if shipped.is_file() and not beside.is_file() else beside


def _possible_folds(suite: SuiteConfig, leaky: bool) -> list[int]:
    """The folds that there may be, whatever the cohort."""
    if (source := _named_fold_file(suite)) is None:
        return list(range(suite.folds_number))
    return sorted(set(read_fold_file(source, allow_leaky=leaky).fold_of.values()))


def _refuse_unknown(asked: Sequence[int], known: Sequence[int]) -> None:
    if unknown := [fold for fold in asked if fold not in known]:
        raise InputError(
            f"--folds {','.join(map(str, unknown))}: no such fold with cases: choose among {', '.join(map(str, known))}"
        )


def _chosen_folds(folds: Folds, asked: Sequence[int] | None) -> list[int]:
    """The folds to run: those asked for, else all that hold a case."""
    filled = sorted(set(folds.fold_of.values()))
    _refuse_unknown(asked or (), filled)
    chosen = sorted(set(asked)) if asked else filled
    if len(filled) == 1:
        raise InputError(f"{folds.source}: all cases are in fold {filled[0]}, nothing is left to train on: add cases")
    return chosen


def _cohort_digest(cohort: Cohort, cache: Path, console: Console) -> str:
    """Preprocess every case; digest of the cohort's content."""
    from benchmark.pipeline.cache import build_cache, cohort_digest

    with counted("preprocessing", console) as progress:
        entries = build_cache(cohort.cases, cohort.images, cache, progress)
    return cohort_digest({case.name: entry.name for case, entry in zip(cohort.cases, entries, strict=True)})
