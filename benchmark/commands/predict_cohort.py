"""A finished job's predictions for new cases, in files named as the challenge takes them."""

from __future__ import annotations

import io
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.cohort.folds import read_fold_file
from benchmark.commands.first_checks import require_file_name, require_finished, require_free
from benchmark.rundir.digests import read_provenance
from benchmark.rundir.names import CONFIG, LAST, PROBABILITIES, method_folder, row_folder, row_name
from benchmark.rundir.trust import received_config, require_plain_files
from benchmark.suite.config_files import read_yaml
from benchmark.training.checkpoints import damage_of
from benchmark.training.lightning_cli import SuiteCLI
from benchmark.training.loading import load, quiet_lightning, use_threads
from leaderboard.cohort.case import Partition
from leaderboard.cohort.formats import find_format
from leaderboard.errors import InputError
from leaderboard.io.images import write_bytes


@dataclass(frozen=True)
class Predicted:
    """What was predicted.

    Attributes:
        cases: names of the cases.
        trained_on: of these, known by their content, those that the job was trained on; none of a job without folds.
    """

    cases: list[str]
    trained_on: list[str]


def predict_cohort(
    run: Path,
    cohort: Path,
    out: Path,
    partition: Partition | None,
    name: str | None,
    *,
    format_name: str | None = None,
    probabilities: bool = False,
    trust: bool = False,
) -> Predicted:
    """Predict every case of a cohort with the last checkpoint of a job.

    Args:
        run: run directory of a finished job.
        cohort: folder of the cases.
        out: where the predictions go, named as the challenge takes them (`Format.submitted_file`): a folder, or a
            ``.zip``. Those of the method's ablation rows go beside it, ``<out>_<ablation>``.
        partition: which cases; None takes testing where it is there.
        name: free part of the file names; None takes the method's.
        format_name: the cohort's format; None recognises it.
        probabilities: the probability maps of a method that is no rule go beside the masks, ``<out>_probabilities``.
        trust: load whatever the job's config names; else what `require_harmless` allows.

    Raises:
        InputError: `run` is no finished job, its fold file or the cohort cannot be read, or `out` holds other files.
    """
    require_file_name(name)
    require_finished(run)
    config = run / CONFIG
    if not trust:
        require_plain_files(run)
    if damage := damage_of(run / LAST):
        raise InputError(f"{run}: its {LAST} {damage}: benchmark run makes it again")
    settings, provenance = read_yaml(config), read_provenance(run, "cohort.format")
    with tempfile.TemporaryDirectory() as own:
        if not trust:
            config, settings = received_config(run, settings, Path(own))
        use_threads(settings)
        method = (settings.get("suite") or {}).get("method", method_folder(run).name)
        found, partitions = find_format(cohort, format_name)
        if found.name != (trained_on := provenance["cohort"]["format"]):
            raise InputError(
                f"{cohort}: is a cohort of {found.name}, but {run} was trained on {trained_on}: give one of that format"
            )
        partition = partition or ("testing" if "testing" in partitions else "training")
        trained = _training_digests(settings["data"], provenance)
        cli = _predict(run, config, found.name, cohort, out, partition, name or method, probabilities)
    data = cli.datamodule
    return Predicted(
        [case.name for case in data.held_out], [name for name, digest in data.case_digests.items() if digest in trained]
    )


def _predict(
    run: Path,
    config: Path,
    format_name: str,
    cohort: Path,
    out: Path,
    partition: Partition,
    name: str,
    probabilities: bool,
) -> SuiteCLI:
    """Predict and deliver; what did it.

    Args:
        run: run directory of the job.
        config: the job's, or what is taken of it.
        format_name: of the cohort.
        cohort: see `predict_cohort`.
        out: see `predict_cohort`.
        partition: see `predict_cohort`.
        name: free part of the file names.
        probabilities: see `predict_cohort`.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out.parent}: cannot be created ({error.strerror or error}): give another --out") from None
    require_free(out)
    quiet_lightning()
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        written = Path(scratch) / "masks"
        changes = {
            "data.cohort": cohort,
            "data.format": format_name,
            "data.partition": partition,
            "data.folds": "null",
            "predictions.folder": written,
            "predictions.submission": name,
            "predictions.probabilities": str(probabilities).lower(),
            # One process: a process of its own would not know the scratch folder, and the cases are few.
            "trainer.devices": 1,
            "trainer.num_nodes": 1,
        }
        cli = load(
            config, {"logger": False}, *(f"--{key}={value}" for key, value in changes.items()), named=run / CONFIG
        )
        cli.trainer.predict(
            cli.model, datamodule=cli.datamodule, return_predictions=False, ckpt_path=run / LAST, weights_only=True
        )
        if cli.trainer.is_global_zero:
            for row in ("", *cli.model.ablations):
                _deliver(row_folder(written, row), _beside(out, row))
            if (maps := written.with_name(PROBABILITIES)).exists():
                _deliver(maps, _beside(out, PROBABILITIES))
    return cli


def _beside(out: Path, row: str) -> Path:
    """Where the files of a row go, or the maps; `out` itself for the method's own."""
    return out.with_name(row_name(out.stem, row) + out.suffix)


def _training_digests(data: dict[str, Any], provenance: dict[str, Any]) -> set[str]:
    """Digests of the cases that a job was trained on; none where its fold file is gone.

    Args:
        data: that section of the job's config.
        provenance: of the job.

    Raises:
        InputError: the fold file cannot be read.
    """
    if not data.get("folds") or not Path(data["folds"]).is_file():
        return set()
    fold_of = read_fold_file(Path(data["folds"]), allow_leaky=True).fold_of
    known = provenance["cohort"].get("cases", {})
    return {case.get("sha256") for name, case in known.items() if fold_of.get(name) != data.get("fold", 0)}


def _deliver(masks: Path, out: Path) -> None:
    """Move a folder of masks or maps to where it belongs, as a zip if that is what `out` is called."""
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
