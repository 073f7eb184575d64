"""The jobs of a suite: method x fold x seed, each with a config and a run directory of its own."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.cohort.folds import Folds
from benchmark.rundir.names import PREDICTIONS, run_directory
from benchmark.rundir.state import State, read_state
from benchmark.suite.config import SuiteConfig, command_line_faults, is_rule, method_config
from benchmark.suite.config_files import find_method, merge
from leaderboard.errors import InputError

#: Sections of a job's config that decide no result, and settings of the section ``data`` likewise.
_ASIDE = ("predictions", "suite", "requires", "needs")
_UNDECISIVE = ("cohort", "format", "folds", "cache")


@dataclass(frozen=True)
class Job:
    """One training of a method on a fold.

    Attributes:
        method: its name.
        fold: the fold it predicts.
        run: its run directory.
        config: its whole LightningCLI config.
        inputs: digest of everything that decides its result: config, cohort and folds, not where they lie.
        seed: of its training, where the suite has several; None too for a rule, which is not trained.
    """

    method: str
    fold: int
    run: Path
    config: dict[str, Any]
    inputs: str
    seed: int | None = None

    @property
    def title(self) -> str:
        """The job in words: ``strokenet fold 0``, ``strokenet fold 0 seed 2``."""
        return f"{self.method} fold {self.fold}" + ("" if self.seed is None else f" seed {self.seed}")

    @property
    def state(self) -> State:
        """The state on disk."""
        return read_state(self.run)


def plan_jobs(
    suite: SuiteConfig,
    *,
    cohort: Path,
    format_name: str,
    cohort_digest: str,
    folds_path: Path,
    folds: Folds,
    root: Path,
    cache: Path,
    methods: Sequence[str],
    chosen_folds: Sequence[int],
    settings: dict[str, Any],
    chosen_seeds: Sequence[int] | None = None,
    allow_leaky_folds: bool = False,
) -> list[Job]:
    """The jobs of a suite, fold by fold within each method, and seed by seed within each fold.

    Where a suite has several seeds, a rule without weights has one job a fold all the same.

    Args:
        suite: what to run.
        cohort: folder of the cohort.
        format_name: its format.
        cohort_digest: of its content.
        folds_path: the fold file that the jobs read.
        folds: its content.
        root: the suite's folder.
        cache: folder of the preprocessed cases.
        methods: which of the suite's methods.
        chosen_folds: which folds.
        settings: config that goes over everything else (from the command line).
        chosen_seeds: which of the suite's training seeds; None takes all.
        allow_leaky_folds: passed on to the jobs.

    Raises:
        InputError: an unknown method or a setting of the wrong shape; all are named.
    """
    problems = [f"--set {fault}" for fault in command_line_faults(settings)]
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
        if suite.seeds and "seed_everything" in base:
            problems.append(f"{method}: sets seed_everything, which the suite's seeds decide: remove one of the two")
            continue
        rule = bool(suite.seeds) and is_rule(base)
        seeds = (suite.seed,) if rule else chosen_seeds or suite.training_seeds
        for fold, seed in itertools.product(chosen_folds, seeds):
            named = seed if suite.has_seeds and not rule else None
            run = run_directory(root, method, fold, named)
            data = {
                "cohort": str(cohort),
                "format": format_name,
                "folds": str(folds_path),
                "fold": fold,
                "cache": str(cache),
                "seed": seed,
                "allow_leaky_folds": allow_leaky_folds,
            }
            notes = {
                "name": suite.name,
                "method": method,
                "fold": fold,
                **({} if named is None else {"seed": named}),
                "wandb": suite.wandb,
                "checkpoint_every_n_epochs": suite.checkpoint_every_n_epochs,
                "threads": suite.threads,
                "cohort_sha256": cohort_digest,
                "folds_sha256": folds.digest,
            }
            predictions = {"folder": str(run / PREDICTIONS), "probabilities": suite.probabilities}
            config = merge(
                {"seed_everything": seed},
                base,
                {"data": data, "predictions": predictions, "suite": notes},
            )
            inputs = inputs_digest(config, cohort_digest, folds.digest)
            config["suite"]["inputs"] = inputs
            jobs.append(Job(method, fold, run, config, inputs, named))
    if problems:
        raise InputError(problems)
    return jobs


def inputs_digest(config: dict[str, Any], cohort_digest: str, folds_digest: str) -> str:
    """Digest of what decides a job's result: not where files lie or what is logged.

    The number of threads does: it is the order in which a sum is taken.
    """
    threads = config.get("suite", {}).get("threads")
    content = json.dumps([decisive(config), threads, cohort_digest, folds_digest], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    """That part of a job's config that decides its result."""
    kept = {name: copy.deepcopy(config[name]) for name in config if name not in _ASIDE}
    for key in _UNDECISIVE:
        kept.get("data", {}).pop(key, None)
    return kept
