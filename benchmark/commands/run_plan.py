"""The plan of ``benchmark run``, made before any job starts: cohort, folds, jobs, and where they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmark.cohort.fold_json import is_json, read_folds
from benchmark.cohort.folds import (
    Folds,
    case_folds,
    centre_folds,
    folds_bytes,
    folds_within,
    make_folds,
    measure_cohort,
    read_fold_file,
)
from benchmark.cohort.size import voxels_of
from benchmark.commands.first_checks import require_folder
from benchmark.commands.progress import counted
from benchmark.launchers import make_launcher, refuse_queued_elsewhere
from benchmark.launchers.interface import Launcher
from benchmark.machine.capacity import memory_of
from benchmark.machine.precision import slow_precision
from benchmark.rundir.digests import damaged_results
from benchmark.rundir.names import FOLDS, runs_of_method
from benchmark.suite.config import (
    SuiteConfig,
    command_line_faults,
    is_rule,
    lacking,
    method_config,
    step_bytes,
    twin_arguments,
    unshown,
)
from benchmark.suite.config_files import shipped_configs
from benchmark.suite.plan import Job, plan_jobs
from benchmark.suite.resume import has_begun, is_done, prepare_runs, unusable_runs
from leaderboard.cohort.formats import Cohort, find_format, read_cohort
from leaderboard.errors import InputError
from leaderboard.io.images import write_bytes


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    config: str  #: a suite's config, by path or name
    cohort: Path | None = None  #: folder of the cohort; None takes the config's twin
    format: str | None = None  #: its format; None takes the config's, or recognises it
    out: Path = Path("runs")  #: folder above the suite's
    methods: tuple[str, ...] | None = None  #: only these of the suite's methods (or others); None takes all
    folds: tuple[int, ...] | None = None  #: only these; None takes all
    seeds: tuple[int, ...] | None = None  #: only these of the suite's training seeds; None takes all
    settings: dict[str, Any] = field(default_factory=dict)  #: override all configs
    allow_leaky_folds: bool = False  #: accept folds that split patients
    restart_changed: bool = False  #: repeat jobs whose config, cohort or folds have changed
    launcher: str = "local"  #: where jobs run, one of `benchmark.launchers.LAUNCHERS`


@dataclass(frozen=True)
class Lack:
    """What some methods need that is not there."""

    methods: tuple[str, ...]  #: their names
    fault: str  #: what they need and what there is, such as ``needs 4 GB of memory, and there are 2 GB here``
    remedy: str  #: what to do if they are wanted

    @property
    def note(self) -> str:
        """The line of a suite that goes on without them."""
        return f"{self._told}: {'its' if len(self.methods) == 1 else 'their'} rows are left out"

    @property
    def refusal(self) -> str:
        """The line of a command that was to run them."""
        return f"{self._told}: {self.remedy}"

    @property
    def _told(self) -> str:
        return f"{', '.join(self.methods)} {self.fault}"


@dataclass(frozen=True)
class Plan:
    """What a call of ``benchmark run`` is going to do."""

    suite: SuiteConfig  #: the suite
    root: Path  #: its folder
    cohort: Cohort  #: the cases
    folds: Folds  #: of the cases
    chosen: list[int]  #: the folds to run
    chosen_seeds: list[int]  #: the training seeds to run
    jobs: list[Job]  #: all that may be on the leaderboard, including those of methods that were not asked for
    wanted: list[Job]  #: those that were asked for
    #: one line for methods with a requirement that is not installed, without images that they need in the cohort, or
    #: without the memory that its largest case needs
    left_out: list[str]
    #: files that changed after their job had finished, by run directory; these jobs are repeated
    damaged: dict[Path, list[str]]
    launcher: Launcher  #: runs the jobs
    queued: set[Path]  #: run directories of the wanted jobs that an earlier call has handed over to the launcher
    unusable: dict[Path, str]  #: run directories of the wanted jobs that cannot be written to, with the reason
    todo: list[Job]  #: the wanted jobs that are not done, including those that are queued
    fold_file: bytes  #: the content for the suite's own copy of its fold file

    @property
    def leaderboard(self) -> Path:
        """Folder of the results; each selection of folds and seeds has its own."""
        part = "" if self.chosen == _chosen_folds(self.folds, None) else f"-fold{'-'.join(map(str, self.chosen))}"
        if self.chosen_seeds != _chosen_seeds(self.suite, None):
            part += f"-seed{'-'.join(map(str, self.chosen_seeds))}"
        return self.root / f"leaderboard{part}"


def check_places(request: Request, suite: SuiteConfig) -> None:
    """Check what needs no torch: paths and names.

    Args:
        request: what the command line asks for.
        suite: read from its config.

    Raises:
        InputError: there is no cohort, a method or a seed is unknown, ``--set`` has a wrong form, a file is in --out's
            place, or folds by case were not allowed.
    """
    if request.cohort is None and suite.twin is None:
        raise InputError(f"{suite.path}: needs a cohort: give --cohort DIR, the folder that holds the cases")
    if request.cohort is None and request.format:
        raise InputError(f"--format {request.format}: is of a cohort that is given: give --cohort DIR too")
    if request.cohort is not None:
        find_format(request.cohort, request.format or suite.format)
    require_folder(request.out / suite.name)
    if faults := command_line_faults(request.settings):
        raise InputError(f"--set {fault}" for fault in faults)
    if suite.folds_by == "case" and not request.allow_leaky_folds:
        raise InputError(
            f"{suite.path}: folds.by is case, which has cases of one patient in training and in validation: remove it, "
            "or pass --allow-leaky-folds to show what that does to scores"
        )
    _chosen_seeds(suite, request.seeds)
    for method in request.methods or suite.methods:
        method_config(suite, method, request.settings)


def check_request(request: Request, suite: SuiteConfig, root: Path) -> tuple[Launcher, list[str]]:
    """Check all that can be checked before anything is made: whether jobs can run as asked, their settings, the folds.

    Args:
        request: what the command line asks for.
        suite: read from its config.
        root: the suite's folder, which may not exist.

    Returns:
        The launcher, and remarks on how the jobs will run.

    Raises:
        InputError: nothing can be run.
    """
    launcher = make_launcher(request.launcher, suite, root.resolve())
    launcher.check()
    configs = _checked_configs(suite, request.methods or suite.methods, request.settings)
    notes = _accept_precision(configs, request.settings, root) if launcher.here else []
    if request.cohort is None and not (root / FOLDS).exists():  # else before anything is written too
        _refuse_unknown(request.folds or (), _possible_folds(suite, request.allow_leaky_folds) or request.folds or ())
    return launcher, notes


def make_plan(request: Request, suite: SuiteConfig, root: Path, launcher: Launcher, console: Console) -> Plan:
    """Cohort, folds, cache and jobs; run directories are left as they are.

    Args:
        request: what the command line asks for.
        suite: read from its config.
        root: the suite's folder, which this process holds.
        launcher: from `check_request`.
        console: shows progress.

    Raises:
        InputError: nothing can be run.
    """
    asked = request.methods or suite.methods
    folder = request.cohort or _write_twin(suite, root / "cohort", console)
    cohort = read_cohort(folder, "training", (request.format or suite.format) if request.cohort else None)
    configs = {method: method_config(suite, method, request.settings) for method in asked}
    left_out = _left_out(configs, cohort)
    if launcher.here:
        begun = [method for method in configs if _has_begun(root, method)]
        left_out |= _too_large({name: configs[name] for name in configs if name not in {*left_out, *begun}}, cohort)
    if left_out and (request.methods or len(left_out) == len(asked)):
        raise InputError(lack.refusal for lack in dict.fromkeys(left_out.values()))
    folds, fold_file = _folds(suite, cohort, root, request.allow_leaky_folds, console)
    chosen = _chosen_folds(folds, request.folds)
    chosen_seeds = _chosen_seeds(suite, request.seeds)
    cache = request.out / "cache"
    jobs = plan_jobs(
        suite,
        cohort=folder.resolve(),
        format_name=cohort.format.name,
        cohort_digest=_cohort_digest(cohort, cache, console),
        folds_path=(root / FOLDS).resolve(),
        folds=folds,
        root=root.resolve(),
        cache=cache.resolve(),
        methods=tuple(dict.fromkeys([*suite.methods, *asked])),
        chosen_folds=chosen,
        chosen_seeds=chosen_seeds,
        settings=request.settings,
        allow_leaky_folds=request.allow_leaky_folds,
    )
    jobs = [job for job in jobs if job.method not in left_out]
    wanted = [job for job in jobs if job.method in asked]
    done = [job.run for job in wanted if job.state.status == "done"]
    damaged = {run: names for run in done if (names := damaged_results(run))}
    unusable = unusable_runs(wanted)
    return Plan(
        suite, root, cohort, folds, chosen, chosen_seeds, jobs, wanted,
        [lack.note for lack in dict.fromkeys(left_out.values())], damaged, launcher,
        queued=set(launcher.queued_elsewhere(job.run for job in wanted)),
        unusable=unusable,
        todo=[job for job in wanted if job.run not in unusable and not is_done(job)],
        fold_file=fold_file,
    )  # fmt: skip


def prepare(plan: Plan, request: Request) -> None:
    """Write the run directories' configs and the suite's own fold file.

    Raises:
        InputError: jobs run elsewhere with other inputs, or their folders hold work on such; nothing was changed.
    """
    undone = [job.run for job in plan.wanted if not is_done(job)]
    refuse_queued_elsewhere(request.launcher, plan.suite, plan.root.resolve(), undone)
    usable = [job for job in plan.wanted if job.run not in plan.unusable]
    prepare_runs(usable, restart_changed=request.restart_changed, underway=plan.queued)
    path = plan.root / FOLDS
    if not path.is_file() or path.read_bytes() != plan.fold_file:
        write_bytes(path, plan.fold_file)  # only once the jobs are known to agree


def _left_out(configs: Mapping[str, Mapping[str, Any]], cohort: Cohort) -> dict[str, Lack]:
    """The methods that need what is not there, by name; those that lack the same images share a lack.

    Args:
        configs: by method.
        cohort: has the images.
    """
    found = {
        method: Lack((method,), f"needs {', '.join(lacks)}", "install that, or name other methods")
        for method, config in configs.items()
        if (lacks := lacking(config))
    }
    blind: dict[tuple[str, ...], list[str]] = {}
    for method, config in configs.items():
        if (missing := unshown(config, cohort)) and method not in found:
            blind.setdefault(tuple(missing), []).append(method)
    for maps, methods in blind.items():
        fault = (
            f"{'needs' if len(methods) == 1 else 'need'} images of {', '.join(maps)}, and {cohort.root} has only "
            f"{', '.join(cohort.shows)}"
        )
        lack = Lack(tuple(methods), fault, "name other methods, or give a cohort that has these images")
        found |= dict.fromkeys(methods, lack)
    return found


def _too_large(configs: Mapping[str, Mapping[str, Any]], cohort: Cohort) -> dict[str, Lack]:
    """The methods that train on whole cases, if the largest does not fit the memory here.

    Args:
        configs: by method.
        cohort: only the headers are read, and only where there is such a method.
    """
    whole = {method: config for method, config in configs.items() if step_bytes(config)}
    if not whole:
        return {}
    case, voxels = max(voxels_of(cohort).items(), key=lambda item: item[1])
    found = {}
    for method, config in whole.items():
        batch = int(config.get("data", {}).get("batch_size", 1))
        needed, there = batch * voxels * step_bytes(config), memory_of(config)
        if needed > there:
            fault = (
                f"needs about {needed / 1e9:.3g} GB of memory for the largest case, {case} ({voxels / 1e6:.3g} million "
                f"voxels{f', {batch} in a batch' if batch > 1 else ''}), and there are {there / 1e9:.3g} GB here"
            )
            found[method] = Lack((method,), fault, "name other methods, or run it where there is more memory")
    return found


def _has_begun(root: Path, method: str) -> bool:
    """Whether any job of a method has begun in a suite's folder."""
    return any(map(has_begun, runs_of_method(root / method)))


def _checked_configs(suite: SuiteConfig, methods: Sequence[str], settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The config of each method; refuses faults that would stop all of its jobs.

    Raises:
        InputError: with every fault, once.
    """
    from benchmark.training.loading import blamed, check_configs, quiet_lightning

    quiet_lightning()
    configs = {method: method_config(suite, method, settings) for method in methods}
    if problems := check_configs({method: config for method, config in configs.items() if not lacking(config)}):
        raise InputError(blamed(problem, settings) for problem in problems)
    return configs


def _accept_precision(configs: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any], root: Path) -> list[str]:
    """Refuse to begin trainings in a precision that this machine computes tens of times more slowly than another.

    Args:
        configs: by method; rules are as quick in any precision.
        settings: of the command line; a precision that they name is accepted.
        root: the suite's folder; trainings that have begun in it may go on.

    Returns:
        One line for each group of slow methods that go on.

    Raises:
        InputError: a method that has not begun would be slow.
    """
    slow: dict[str, list[str]] = {}
    for method, config in configs.items():
        if (line := slow_precision(config)) and not is_rule(config):
            slow.setdefault(line, []).append(method)
    said = [f"{', '.join(methods)}: {line}" for line, methods in slow.items()]
    begun = [method for method in configs if _has_begun(root, method)]
    if "precision" not in settings.get("trainer", {}) and any(set(methods) - set(begun) for methods in slow.values()):
        raise InputError(f"{line} (a precision named with --set is taken, this one too)" for line in said)
    return said


def _write_twin(suite: SuiteConfig, folder: Path, console: Console) -> Path:
    """The suite's synthetic cohort; written unless it is already there."""
    from benchmark.cohort.twin import write_twin

    assert suite.twin is not None  # `check_request`
    with counted("synthetic twin", console) as progress:
        write_twin(folder, **twin_arguments(suite.twin), progress=progress)
    return folder


def _folds(suite: SuiteConfig, cohort: Cohort, root: Path, leaky: bool, console: Console) -> tuple[Folds, bytes]:
    """The folds of the cases that are there, and the content for the suite's own copy of the fold file."""
    path = root / FOLDS
    if (source := _named_fold_file(suite)) is not None:
        folds = read_folds(source, cohort, allow_leaky=leaky)
        content = folds_bytes(folds) if is_json(source) else source.read_bytes()
    else:
        measured = measure_cohort(cohort)
        make = case_folds if suite.folds_by == "case" else make_folds
        by_centre = suite.folds_by == "centre"
        folds = centre_folds(measured) if by_centre else make(measured, suite.folds_number, suite.seed)
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
    """The fold file that the config names, beside it or a shipped one; None if the suite makes its folds."""
    if suite.folds_file is None:
        return None
    beside, shipped = suite.path.parent / suite.folds_file, shipped_configs() / suite.folds_file
    return shipped if shipped.is_file() and not beside.is_file() else beside


def _possible_folds(suite: SuiteConfig, leaky: bool) -> list[int] | None:
    """The folds that there may be, whatever the cohort; None where the cohort decides."""
    if (source := _named_fold_file(suite)) is None:
        return None if suite.folds_by == "centre" else list(range(suite.folds_number))
    if is_json(source):
        return None
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


def _chosen_seeds(suite: SuiteConfig, asked: Sequence[int] | None) -> list[int]:
    """The training seeds to run, in the suite's order: those asked for, else all."""
    known = suite.training_seeds
    if unknown := [seed for seed in asked or () if seed not in known]:
        raise InputError(
            f"--seeds {','.join(map(str, unknown))}: {suite.path} does not train with it: choose among "
            f"{', '.join(map(str, known))}, or add it to seeds there"
        )
    return [seed for seed in known if not asked or seed in asked]


def _cohort_digest(cohort: Cohort, cache: Path, console: Console) -> str:
    """Preprocess every case; returns the digest of the cohort's content."""
    from benchmark.pipeline.cache import build_cache, cohort_digest

    with counted("preprocessing", console) as progress:
        entries = build_cache(cohort.cases, cohort.images, cache, progress)
    return cohort_digest({case.name: entry.name for case, entry in zip(cohort.cases, entries, strict=True)})
