"""A finished job's predictions for new cases, in files named as the challenge takes them."""

from __future__ import annotations

import json
from pathlib import Path

from benchmark.configs import read_yaml
from benchmark.job import is_loadable, load
from leaderboard.cohort import Partition, find_partitions, read_cohort
from leaderboard.errors import InputError


def predict_cohort(run: Path, cohort: Path, out: Path, partition: Partition | None, name: str | None) -> int:
    """Predict every case of a cohort with the last checkpoint of a job.

    Args:
        run: run directory of a finished job.
        cohort: folder of the cases.
        out: where the predictions go, ``SMIR.<name>.<id of the case's MTT image>.nii``.
        partition: which cases; None takes testing where it is there.
        name: free part of the file names; None takes the method's.

    Returns:
        How many cases were predicted.

    Raises:
        InputError: `run` is no finished job, or the cohort cannot be read.
    """
    config = run / "config.yaml"
    checkpoint = run / "checkpoints" / "last.ckpt"
    if not config.is_file() or not (run / "provenance.json").is_file() or not is_loadable(checkpoint):
        raise InputError(
            f"{run}: holds no finished job (config.yaml, checkpoints/last.ckpt): give .../<method>/fold<k>"
        )
    settings = read_yaml(config)
    trained_on = json.loads((run / "provenance.json").read_text())["cohort"]["edition"]
    if (edition := read_cohort(cohort, partition).edition) != trained_on:
        raise InputError(f"{cohort}: is a cohort of {edition}, but {run} was trained on {trained_on}: give its edition")
    if partition is None:
        partition = "testing" if "testing" in find_partitions(cohort) else "training"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be created ({error.strerror}): give another --out") from None
    method = settings.get("suite", {}).get("method", run.parent.name)
    changes = {
        "data.cohort": cohort,
        "data.partition": partition,
        "data.folds": "null",
        "predictions.folder": out,
        "predictions.submission": name or method,
    }
    cli = load(config, {"logger": False}, *(f"--{key}={value}" for key, value in changes.items()))
    cli.trainer.predict(cli.model, datamodule=cli.datamodule, return_predictions=False, ckpt_path=checkpoint)
    return len(cli.datamodule.held_out)
