"""Rows that no training is spent on: what the mean of several trained networks' probability maps says.

A case is averaged over networks that were all trained without it: those of the fold that holds it out. The mean of a
method's trainings (``seeds``) is thresholded as the method does it, the mean over methods of these means (``methods``)
at 0.5. No post-processing follows, since it belongs to a method and may need more than a probability.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.cohort.folds import Folds
from benchmark.rundir.digests import damaged_results, digest_results, map_digests, read_provenance, write_provenance
from benchmark.rundir.names import (
    CONFIG,
    ENSEMBLE,
    PREDICTIONS,
    PROBABILITIES,
    method_folder,
    result_folders,
    row_name,
    run_directory,
    seed_folders,
)
from benchmark.suite.plan import Job
from leaderboard.cohort.case import Case
from leaderboard.cohort.names import prediction_file
from leaderboard.errors import InputError
from leaderboard.io.images import (
    PROBABILITY_STEPS,
    read_geometry,
    read_probability_steps,
    write_mask,
    write_probabilities,
)

#: What an ensemble over methods takes as lesion: more than an even chance.
EVEN = 0.5


@dataclass(frozen=True)
class Ensemble:
    """A row of one fold."""

    name: str  #: of the row
    fold: int  #: whose cases none of its members was trained on
    run: Path  #: its folder: ``predictions/``, ``probabilities/`` and ``provenance.json``, as in a run directory
    #: run directories of its members: the mean is taken within each group, then over the groups
    groups: tuple[tuple[Path, ...], ...]
    threshold: float  #: a voxel is lesion if the mean probability is greater


def maps_of(job: Job) -> Path | None:
    """The folder of a finished job's probability maps; None where it wrote none, or its suite wants none."""
    wanted = job.config["predictions"].get("probabilities", False)
    return job.run / PROBABILITIES if wanted and map_digests(read_provenance(job.run, "outputs")) else None


def plan_ensembles(jobs: Sequence[Job], root: Path, kinds: Sequence[str]) -> tuple[list[Ensemble], list[str]]:
    """The ensembles that finished jobs allow.

    Args:
        jobs: finished ones, each method's on the same folds.
        root: the suite's folder.
        kinds: of `config.ENSEMBLES`.

    Returns:
        One for each row and fold, and a remark on each trained method that is in none.
    """
    methods: dict[str, list[Job]] = {}
    remarks = []
    for job in sorted(jobs, key=lambda job: (job.method, job.fold, job.seed or 0)):
        methods.setdefault(job.method, []).append(job)
    for method, own in list(methods.items()):
        if not all(map(maps_of, own)):
            del methods[method]
            if any(read_provenance(job.run)["costs"].get("parameters") for job in own):
                remarks.append(
                    f"{method}: is in no ensemble, trainings of it have no probability maps: delete their "
                    f"{PREDICTIONS} and give the command again, which predicts without training"
                )

    def of(name: str, members: Sequence[Sequence[Job]], threshold: float) -> list[Ensemble]:
        return [
            Ensemble(
                name,
                fold,
                run_directory(root, name, fold),
                tuple(tuple(job.run for job in own if job.fold == fold) for own in members),
                threshold,
            )
            for fold in dict.fromkeys(job.fold for job in members[0])
        ]

    found: list[Ensemble] = []
    if "seeds" in kinds:
        for method, own in methods.items():
            if len({job.seed for job in own}) > 1:
                threshold = float(read_provenance(own[0].run, "threshold")["threshold"])
                found += of(row_name(method, ENSEMBLE), [own], threshold)
    if "methods" in kinds and len(methods) > 1:
        found += of(ENSEMBLE, list(methods.values()), EVEN)
    return found, remarks


def make_ensembles(
    ensembles: Sequence[Ensemble],
    cases: Sequence[Case],
    folds: Folds,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write what each ensemble predicts; one that is whole, and whose members are as they were, is left as it is.

    Args:
        ensembles: from `plan_ensembles`.
        cases: of the cohort.
        folds: which cases each fold holds out.
        progress: called with (made, all).

    Raises:
        InputError: a training is in an ensemble's place, or a file cannot be read or written.
    """
    for number, ensemble in enumerate(ensembles):
        content = _made_of(ensemble)
        if not _is_made(ensemble, content):
            held_out = [case for case in cases if folds.fold_of[case.name] == ensemble.fold]
            _make(ensemble, held_out, content)
        if progress:
            progress(number + 1, len(ensembles))


def _made_of(ensemble: Ensemble) -> dict[str, Any]:
    """What decides an ensemble's result: its threshold, and the digest of every map by member."""
    suite = method_folder(ensemble.run).parent
    return {
        "threshold": ensemble.threshold,
        "members": [
            {str(run.relative_to(suite)): map_digests(read_provenance(run, "outputs")) for run in group}
            for group in ensemble.groups
        ],
    }


def _is_made(ensemble: Ensemble, content: dict[str, Any]) -> bool:
    try:
        before = read_provenance(ensemble.run, "outputs", *content)
    except InputError:
        return False
    return all(before[name] == content[name] for name in content) and not damaged_results(ensemble.run)


def _make(ensemble: Ensemble, cases: Sequence[Case], content: dict[str, Any]) -> None:
    run = ensemble.run
    if (run / CONFIG).exists() or seed_folders(run):
        raise InputError(f"{run}: is the place of an ensemble and holds a training: rename its method")
    shutil.rmtree(run, ignore_errors=True)
    folders = result_folders(run, (), mapped=True)
    for folder in folders:
        folder.mkdir(parents=True)
    for case in cases:
        name = prediction_file(case.name)
        groups = [[member / PROBABILITIES / name for member in group] for group in ensemble.groups]
        probability = mean_map(groups)
        header = read_geometry(groups[0][0])[2]
        write_mask(run / PREDICTIONS / name, probability > ensemble.threshold, header)
        write_probabilities(run / PROBABILITIES / name, probability, header)
    write_provenance(run, {**content, "ablations": [], "outputs": digest_results(run, folders)})


def mean_map(groups: Sequence[Sequence[Path]]) -> np.ndarray:
    """The mean over groups of the mean over a group's maps, shape (X, Y, Z) in the order of axes of the files.

    Steps are averaged, which are whole numbers: two maps that sum to 1 somewhere have a mean of exactly 0.5 there.
    """
    steps = np.mean([np.mean([read_probability_steps(path) for path in group], axis=0) for group in groups], axis=0)
    return np.asarray(steps / PROBABILITY_STEPS)
