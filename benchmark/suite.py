"""A suite: method x fold, as a list of jobs that each keep their state in a run directory of their own."""

from __future__ import annotations

import copy
import hashlib
import importlib
import importlib.util
import json
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmark.cohort.folds import Folds
from benchmark.configs import find_method, merge, read_yaml
from benchmark.locks import owner
from benchmark.outputs import damaged_outputs, read_provenance
from benchmark.precision import with_precision
from benchmark.state import State, read_state, write_state
from leaderboard.cohort import read_cohort
from leaderboard.errors import InputError, listed
from leaderboard.images import write_text

#: Epochs between two checkpoints.
EVERY_EPOCHS = 1

_KEYS = {
    "name", "seed", "cohort", "folds", "methods", "defaults", "overrides", "wandb",
    "checkpoint_every_n_epochs", "threads", "jobs_per_gpu", "slurm",
}  # fmt: skip
_SECTIONS = ("seed_everything", "model", "trainer", "data", "optimizer", "lr_scheduler", "requires")
#: Settings of the section ``data`` that the suite makes itself, and what to give in their place.
_OWNED = {
    "cohort": "give --cohort",
    "folds": "name a fold file under folds in the suite's config",
    "fold": "give --folds",
    "cache": "it lies below --out",
    "seed": "set seed in the suite's config",
    "allow_leaky_folds": "give --allow-leaky-folds",
}
#: Of the same section, what decides no result.
_UNDECISIVE = ("cohort", "folds", "cache")
_TWIN_KEYS = {"cases", "size", "seed"}


@dataclass(frozen=True)
class SuiteConfig:
    """What a suite's YAML says.

    Attributes:
        path: the file.
        name: of the suite, and of its folder under the output folder.
        seed: of the weights, the order, the augmentation and the folds.
        twin: arguments of the synthetic cohort; None where the suite needs a cohort that is given.
        folds_file: fold file, relative to the config's folder; None where folds are made.
        folds_number: how many folds are made.
        methods: their names, in order.
        defaults: config of every job (sections ``trainer``, ``data``); a method's own config goes over it.
        overrides: further config by method.
        wandb: whether jobs log to W&B.
        checkpoint_every_n_epochs: how often a job saves, at an epoch's end.
        threads: of a job on CPUs; as many jobs then run at a time as the cores allow. None: one job, all cores.
        jobs_per_gpu: how many share a GPU of this machine. None: as many as its memory and the cores allow, up to four.
        slurm: settings of the launcher ``slurm``.
    """

    path: Path
    name: str
    methods: tuple[str, ...]
    seed: int = 0
    twin: dict[str, int] | None = None
    folds_file: str | None = None
    folds_number: int = 5
    defaults: dict[str, Any] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)
    wandb: bool = True
    checkpoint_every_n_epochs: int = EVERY_EPOCHS
    threads: int | None = None
    jobs_per_gpu: int | None = None
    slurm: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One method on one fold.

    Attributes:
        method: its name.
        fold: the fold it predicts.
        run: its run directory.
        config: its whole LightningCLI config.
        inputs: digest of everything that decides its result: config, cohort and folds, not where they lie.
    """

    method: str
    fold: int
    run: Path
    config: dict[str, Any]
    inputs: str

    @property
    def lacks(self) -> list[str]:
        """See `lacking`."""
        return lacking(self.config)

    @property
    def state(self) -> State:
        """The state on disk."""
        return read_state(self.run)


def read_suite(path: Path) -> SuiteConfig:
    """Read and check a suite's config.

    Raises:
        InputError: with every fault of the file.
    """
    content = read_yaml(path)
    faults = [f"unknown setting {key}: choose among {', '.join(sorted(_KEYS))}" for key in content if key not in _KEYS]
    methods = content.get("methods")
    if not isinstance(methods, list) or not methods or not all(isinstance(name, str) for name in methods):
        faults.append("methods must be a list of method names: add it")
    elif len(set(methods)) < len(methods):
        faults.append("methods names one twice: remove one")
    name = content.get("name", path.stem)
    if not isinstance(name, str) or Path(name).name != name or name.startswith("."):
        faults.append(f"name {name!r} is no folder name: correct it")
    sections: dict[str, dict[str, Any]] = {}
    for key in ("cohort", "folds", "defaults", "overrides", "slurm"):
        value = content.get(key) or {}
        if not isinstance(value, dict):
            faults.append(f"{key} must be a mapping: correct it")
            value = {}
        sections[key] = value
    twin = sections["cohort"].get("twin")
    if twin is not None and not (isinstance(twin, dict) and {"cases", "size"} <= set(twin) <= _TWIN_KEYS):
        faults.append(f"cohort.twin takes {', '.join(sorted(_TWIN_KEYS))}: correct it")
    layers = {"defaults": sections["defaults"]}
    layers |= {f"overrides.{method}": settings for method, settings in sections["overrides"].items()}
    for name_of, settings in layers.items():
        faults += [f"{name_of}: {fault}" for fault in section_faults({} if settings is None else settings)]
    numbers = {
        "seed": (content.get("seed", 0), 0),
        "folds.number": (sections["folds"].get("number", 5), 2),
        "checkpoint_every_n_epochs": (content.get("checkpoint_every_n_epochs", EVERY_EPOCHS), 1),
        **{key: (content[key], 1) for key in ("threads", "jobs_per_gpu") if content.get(key) is not None},
        **{f"cohort.twin.{key}": (value, 0) for key, value in (twin if isinstance(twin, dict) else {}).items()},
    }
    faults += [
        f"{key} must be a whole number, at least {least}: correct it"
        for key, (value, least) in numbers.items()
        if not isinstance(value, int) or isinstance(value, bool) or value < least
    ]
    if not isinstance(content.get("wandb", True), bool):
        faults.append("wandb must be true or false: correct it")
    if faults:
        raise InputError(f"{path}: {fault}" for fault in faults)
    return SuiteConfig(
        path=path,
        name=name,
        methods=tuple(methods or ()),
        seed=content.get("seed", 0),
        twin=twin,
        folds_file=sections["folds"].get("file"),
        folds_number=sections["folds"].get("number", 5),
        defaults=sections["defaults"],
        overrides=sections["overrides"],
        wandb=content.get("wandb", True),
        checkpoint_every_n_epochs=content.get("checkpoint_every_n_epochs", EVERY_EPOCHS),
        threads=content.get("threads"),
        jobs_per_gpu=content.get("jobs_per_gpu"),
        slurm=sections["slurm"],
    )


def section_faults(settings: Any) -> list[str]:
    """What is wrong with the shape of a job's config or a part of it: sections are mappings with known names."""
    if not isinstance(settings, dict):
        return ["must be a mapping of sections: correct it"]
    faults = [
        f"{key}: unknown section: choose among {', '.join(_SECTIONS)}" for key in settings if key not in _SECTIONS
    ]
    return faults + [
        f"{key} must be a mapping: correct it"
        for key in settings
        if key in ("model", "trainer", "data", "requires") and not isinstance(settings[key], dict)
    ]


def settings_faults(settings: Mapping[str, Any]) -> list[str]:
    """What is wrong with the shape of the command line's settings, those that are the suite's own included."""
    if faults := section_faults(settings):
        return faults
    return [f"data.{key}: is the suite's own: {_OWNED[key]}" for key in settings.get("data", {}) if key in _OWNED]


def method_config(suite: SuiteConfig, method: str, settings: dict[str, Any]) -> dict[str, Any]:
    """A method's config in a suite: the suite's defaults, the method's own, the suite's overrides, then `settings`.

    A precision that is left to the machine is decided here, so that a run directory's config names it.

    Raises:
        InputError: an unknown method, or a config of the wrong shape.
    """
    path = find_method(method, suite.path)
    own = read_yaml(path)
    if faults := section_faults(own):
        raise InputError(f"{path}: {fault}" for fault in faults)
    return with_precision(merge(suite.defaults, own, suite.overrides.get(method) or {}, settings))


def plan_jobs(
    suite: SuiteConfig,
    *,
    cohort: Path,
    cohort_digest: str,
    folds_path: Path,
    folds: Folds,
    root: Path,
    cache: Path,
    methods: Sequence[str],
    chosen_folds: Sequence[int],
    settings: dict[str, Any],
    allow_leaky_folds: bool = False,
) -> list[Job]:
    """The jobs of a suite, fold by fold within each method.

    Args:
        suite: what to run.
        cohort: folder of the cohort.
        cohort_digest: of its content.
        folds_path: the fold file that the jobs read.
        folds: its content.
        root: the suite's folder.
        cache: folder of the preprocessed cases.
        methods: which of the suite's methods.
        chosen_folds: which folds.
        settings: config that goes over everything else (from the command line).
        allow_leaky_folds: passed on to the jobs.

    Raises:
        InputError: an unknown method or a setting of the wrong shape; all are named.
    """
    problems = [f"--set {fault}" for fault in settings_faults(settings)]
    for method in suite.overrides:  # those of methods that --methods may add are welcome
        try:
            find_method(method, suite.path)
        except InputError as error:
            problems += [f"{suite.path}: overrides: {problem}" for problem in error.problems]
    if problems:
        raise InputError(problems)
    jobs: list[Job] = []
    for method in methods:
        try:
            base = method_config(suite, method, settings)
        except InputError as error:
            problems += error.problems
            continue
        for fold in chosen_folds:
            run = root / method / f"fold{fold}"
            data = {
                "cohort": str(cohort),
                "folds": str(folds_path),
                "fold": fold,
                "cache": str(cache),
                "seed": suite.seed,
                "allow_leaky_folds": allow_leaky_folds,
            }
            notes = {
                "name": suite.name,
                "method": method,
                "fold": fold,
                "wandb": suite.wandb,
                "checkpoint_every_n_epochs": suite.checkpoint_every_n_epochs,
                "threads": suite.threads,
                "cohort_sha256": cohort_digest,
                "folds_sha256": folds.digest,
            }
            config = merge(
                {"seed_everything": suite.seed},
                base,
                {"data": data, "predictions": {"folder": str(run / "predictions")}, "suite": notes},
            )
            inputs = inputs_digest(config, cohort_digest, folds.digest)
            config["suite"]["inputs"] = inputs
            jobs.append(Job(method, fold, run, config, inputs))
    if problems:
        raise InputError(problems)
    return jobs


def lacking(config: Mapping[str, Any]) -> list[str]:
    """What a method needs and this machine has not, each with its remedy (the config's section ``requires``)."""
    return [
        f"{module} ({remedy})"
        for module, remedy in config.get("requires", {}).items()
        if importlib.util.find_spec(module) is None
    ]


def is_rule(config: Mapping[str, Any]) -> bool:
    """Whether a job's method is a rule without weights; False too where its class is not found from here."""
    from benchmark.methods.base import RuleMethod

    module, _, name = str(config.get("model", {}).get("class_path", "")).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except Exception:  # a user's module may do what it likes
        return False
    return isinstance(found, type) and issubclass(found, RuleMethod)


def inputs_digest(config: dict[str, Any], cohort_digest: str, folds_digest: str) -> str:
    """Digest of what decides a job's result: not where files lie or what is logged.

    The number of threads does: it is the order in which a sum is taken.
    """
    threads = config.get("suite", {}).get("threads")
    content = json.dumps([decisive(config), threads, cohort_digest, folds_digest], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    """That part of a job's config that decides its result."""
    kept = {name: copy.deepcopy(config[name]) for name in config if name not in ("predictions", "suite", "requires")}
    for key in _UNDECISIVE:
        kept.get("data", {}).pop(key, None)
    return kept


def prepare_runs(jobs: Sequence[Job], *, restart_changed: bool = False, underway: Collection[Path] = ()) -> list[Job]:
    """Write each job's config and return those that are still to be done.

    Args:
        jobs: of the suite.
        restart_changed: do those again that were made with other inputs.
        underway: run directories of jobs that are queued or running somewhere, which are left as they are; so are
            those in which a process works.

    Raises:
        InputError: a run directory holds work on other inputs, and `restart_changed` is not set or a process is still
            at it; all are listed.
    """
    owners = {job.run: owner(job.run) for job in jobs}
    changed = [
        job
        for job in jobs
        if job.state.inputs != job.inputs and (has_begun(job) or owners[job.run] or job.run in underway)
    ]
    if queued := [job for job in changed if job.run in underway]:
        raise InputError(f"{job.run}: is under way with other inputs: benchmark cancel ends it" for job in queued)
    if busy := [job.run for job in changed if owners[job.run]]:
        raise InputError(f"{run}: another process works here ({owners[run]}): wait for it or end it" for run in busy)
    if changed and not restart_changed:
        raise InputError(
            f"{job.run}: {_change(job)}; else give another --out, or --restart-changed to do it again"
            for job in changed
        )
    for job in changed:
        shutil.rmtree(job.run)
    todo = [job for job in jobs if not is_done(job)]
    for job in [job for job in todo if job.run not in underway and not owners[job.run]]:
        job.run.mkdir(parents=True, exist_ok=True)
        write_text(job.run / "config.yaml", yaml.safe_dump(job.config, sort_keys=False))
        write_state(job.run, State(inputs=job.inputs))
    return todo


def unusable_runs(jobs: Sequence[Job]) -> dict[Path, str]:
    """Run directories that cannot be made or written to, with the reason; the other jobs need not wait for them."""
    found = {}
    for job in jobs:
        try:
            job.run.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=job.run):
                pass
        except OSError as error:
            found[job.run] = (
                f"{job.run}: cannot be written to ({error.strerror or error}): check the folder, or give another --out"
            )
    return found


def _change(job: Job) -> str:
    """What is not as it was when the job was planned, and the remedy."""
    try:
        before = read_yaml(job.run / "config.yaml")
    except InputError:
        return "its config.yaml is missing or damaged"
    if not job.state.inputs or any(not isinstance(before.get(name), dict) for name in ("data", "suite")):
        return "its config.yaml or state.json is damaged"
    notes, own = before["suite"], job.config["suite"]
    changes = [
        f"{key} {_told(was)} (now {_told(now)})"
        for key, was, now in differences(decisive(before), decisive(job.config))
    ]
    if notes.get("threads") != own["threads"]:
        changes.append(f"threads {_told(notes.get('threads'))} (now {_told(own['threads'])})")
    cohort = job.config["data"]["cohort"]
    if notes.get("cohort_sha256") == own["cohort_sha256"]:
        if notes.get("folds_sha256") != own["folds_sha256"]:
            changes.append("other folds")
    elif before["data"].get("cohort") != cohort:
        changes.append(f"the cohort {before['data'].get('cohort')} (now {cohort})")
    else:
        names = _changed_cases(job)
        cases = f" ({listed(names)})" if names else ""
        return f"{cohort} is not what it was{cases}: restore it (a suite's own twin is written again once deleted)"
    return f"was made with {', '.join(changes) or 'other inputs'}: change it back"


def _told(value: Any) -> str:
    return "unset" if value is None else str(value)


def _changed_cases(job: Job) -> list[str]:
    """Cases of the cohort that are not what a finished job had; empty where it left no word of them."""
    from benchmark.pipeline.cache import changed_cases

    try:
        provenance = read_provenance(job.run)
    except InputError:
        return []
    data = job.config["data"]
    return changed_cases(read_cohort(Path(data["cohort"]), "training"), Path(data["cache"]), provenance)


def differences(before: Mapping[str, Any], now: Mapping[str, Any], above: str = "") -> list[tuple[str, Any, Any]]:
    """Keys, with dots between levels, whose values differ, and both values; None where there is none."""
    found: list[tuple[str, Any, Any]] = []
    for key in dict.fromkeys([*before, *now]):
        was, is_now = before.get(key), now.get(key)
        if isinstance(was, Mapping) and isinstance(is_now, Mapping):
            found += differences(was, is_now, f"{above}{key}.")
        elif _as_json(was) != _as_json(is_now):
            found.append((f"{above}{key}", was, is_now))
    return found


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def has_begun(job: Job) -> bool:
    """Whether the run directory holds work: a checkpoint or a result."""
    return (job.run / "provenance.json").exists() or any((job.run / "checkpoints").glob("*.ckpt"))


def is_done(job: Job) -> bool:
    """Whether the job has finished with these inputs: its provenance is what it writes last."""
    state = job.state
    return state.status == "done" and state.inputs == job.inputs and not damaged_outputs(job.run)
