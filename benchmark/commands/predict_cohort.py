"""A finished job's predictions for new cases, in files named as the challenge takes them."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

from benchmark.cohort.folds import read_folds
from benchmark.pipeline.cache import case_digest
from benchmark.rundir.digests import CHECKPOINT, PROVENANCE, read_provenance
from benchmark.rundir.names import row_folder, row_name
from benchmark.rundir.trust import require_harmless
from benchmark.suite.config_files import read_yaml
from benchmark.training.checkpoints import is_loadable
from benchmark.training.loading import load, quiet_lightning
from leaderboard.cohort.trees import Partition, find_partitions, read_cohort
from leaderboard.errors import InputError
from leaderboard.io.images import write_bytes


def predict_cohort(
    run: Path, cohort: Path, out: Path, partition: Partition | None, name: str | None, *, trust: bool = False
) -> int:
    """Predict every case of a cohort with the last checkpoint of a job.

    Args:
        run: run directory of a finished job.
        cohort: folder of the cases.
        out: where the predictions go, ``SMIR.<name>.<id of the case's MTT image>.nii``: a folder, or a ``.zip``.
            Those of the method's ablation rows go beside it, ``<out>_<ablation>``.
        partition: which cases; None takes testing where it is there.
        name: free part of the file names; None takes the method's.
        trust: load whatever the job's config names; else what `require_harmless` allows.

    Returns:
        How many cases were predicted.

    Raises:
        InputError: `run` is no finished job, the cohort cannot be read, or `out` holds other files.
    """
    if name is not None and (not name or Path(name).name != name):
        raise InputError(f"--name {name!r}: is part of file names: give one without /")
    config = run / "config.yaml"
    checkpoint = run / CHECKPOINT
    if not config.is_file() or not (run / PROVENANCE).is_file() or not is_loadable(checkpoint):
        raise InputError(f"{run}: holds no finished job (config.yaml, {CHECKPOINT}): give .../<method>/fold<k>")
    settings = read_yaml(config)
    if not trust:
        require_harmless(run, settings)
    trained_on = read_provenance(run)["cohort"]["edition"]
    if (edition := read_cohort(cohort, partition).edition) != trained_on:
        raise InputError(f"{cohort}: is a cohort of {edition}, but {run} was trained on {trained_on}: give its edition")
    partition = partition or _partition_of(cohort)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out.parent}: cannot be created ({error.strerror or error}): give another --out") from None
    _require_free(out)
    quiet_lightning()
    method = settings.get("suite", {}).get("method", run.parent.name)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        written = Path(scratch) / "masks"
        changes = {
            "data.cohort": cohort,
            "data.partition": partition,
            "data.folds": "null",
            "predictions.folder": written,
            "predictions.submission": name or method,
            # One process: a process of its own would not know the scratch folder, and the cases are few.
            "trainer.devices": 1,
            "trainer.num_nodes": 1,
        }
        cli = load(config, {"logger": False}, *(f"--{key}={value}" for key, value in changes.items()))
        cli.trainer.predict(
            cli.model, datamodule=cli.datamodule, return_predictions=False, ckpt_path=checkpoint, weights_only=True
        )
        if cli.trainer.is_global_zero:
            for row in ("", *cli.model.ablations):
                _deliver(row_folder(written, row), out.with_name(row_name(out.stem, row) + out.suffix))
    return len(cli.datamodule.held_out)


def training_cases(run: Path, cohort: Path, partition: Partition | None) -> list[str]:
    """Those of a cohort's cases, known by their content, that the job was trained on; none of a job without folds.

    Args:
        run: run directory of a finished job.
        cohort: folder of the cases that are predicted.
        partition: which of them, as for `predict_cohort`.
    """
    known = read_provenance(run)["cohort"]["cases"]
    data = read_yaml(run / "config.yaml")["data"]
    if not data.get("folds") or not Path(data["folds"]).is_file():
        return []
    fold_of = read_folds(Path(data["folds"]), allow_leaky=True).fold_of
    trained = {case["sha256"] for name, case in known.items() if fold_of.get(name) != data["fold"]}
    read = read_cohort(cohort, partition or _partition_of(cohort))
    return [case.name for case in read.cases if case_digest(case, read.channels) in trained]


def _partition_of(cohort: Path) -> Partition:
    return "testing" if "testing" in find_partitions(cohort) else "training"


def _require_free(out: Path) -> None:
    """Refuse an `out` that cannot take the predictions, before an hour is spent on them."""
    if out.suffix == ".zip":
        if out.is_dir():
            raise InputError(f"{out}: is a folder: give another --out")
        return
    if out.suffix in (".gz", ".tgz", ".tar", ".7z", ".rar"):
        raise InputError(f"{out}: an archive must be a .zip: give another --out")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file: give another --out, a folder or a .zip")


def _deliver(masks: Path, out: Path) -> None:
    """Move a folder of masks to where it belongs, as a zip if that is what `out` is called."""
    files = sorted(masks.iterdir())
    if out.suffix == ".zip":
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files:  # nothing dated in it: the same masks give the same bytes
                archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED)
        write_bytes(out, content.getvalue())
        return
    try:
        out.mkdir(exist_ok=True)
        if others := sorted({path.name for path in out.iterdir()} - {path.name for path in files}):
            raise InputError(f"{out}: holds other files ({', '.join(others[:3])}): give an empty folder as --out")
        for path in files:
            path.replace(out / path.name)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error}): give another --out") from None
