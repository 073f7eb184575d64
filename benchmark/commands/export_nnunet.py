"""A cohort as an nnU-Net v2 raw dataset, with our folds as its splits (``benchmark export-nnunet``).

So nnU-Net trains and validates on the same patients, and its validation predictions,
``fold_<k>/validation/<case>.nii.gz``, are scored as they come. The format is that of nnU-Net's documentation,
"dataset_format" and "manual_data_splits" (Isensee et al. 2021). nnU-Net itself is not needed here.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from benchmark.cohort.fold_json import NNUNET_FILE, splits_of
from benchmark.cohort.folds import Folds, folds_within
from benchmark.pipeline.on_grid import read_on_grid
from leaderboard.cohort.formats import Cohort
from leaderboard.errors import InputError
from leaderboard.io.grids import Grid
from leaderboard.io.images import write_bytes, write_text
from leaderboard.io.masks import read_mask

#: nnU-Net's reader that turns images to the right, the front and the head, and its predictions back.
_REORIENTING = "NibabelIOWithReorient"


@dataclass(frozen=True)
class Exported:
    """Where an exported dataset lies: the folders that nnU-Net's environment variables of these names point to."""

    raw: Path
    preprocessed: Path
    name: str


def export_nnunet(
    cohort: Cohort,
    folds: Folds,
    out: Path,
    number: int = 18,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write images, references, ``dataset.json`` and ``splits_final.json``.

    Images are float32 in physical units, repaired, in one unit and on the reference's grid, as our methods get them.
    Where headers tell how their axes run, files keep that, and nnU-Net is told to bring them to one order and its
    predictions back (`_REORIENTING`). Elsewhere the affine is made of the spacing, which the headers of ISLES 2018 keep
    apart from it and nnU-Net would not see. An earlier export of the same number is replaced.

    Args:
        cohort: with references.
        folds: of its cases.
        out: folder to write ``nnUNet_raw`` and ``nnUNet_preprocessed`` in.
        number: nnU-Net's dataset id.
        progress: called with (written cases, all).

    Raises:
        InputError: a case has no reference or no fold, or something cannot be read or written.
    """
    if without := [case.name for case in cohort.cases if case.reference is None]:
        raise InputError(f"{cohort.root}: has no references for {', '.join(without)}: give a cohort to train on")
    folds = folds_within(folds, cohort)
    name = f"Dataset{number:03d}_{cohort.format.name.upper()}"
    raw, preprocessed = out / "nnUNet_raw", out / "nnUNet_preprocessed"
    images, labels = raw / name / "imagesTr", raw / name / "labelsTr"
    for place in (images, labels, preprocessed / name):
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{place}: cannot be created ({error.strerror or error}): give another OUT") from None
    stale = {*images.glob("*.nii.gz"), *labels.glob("*.nii.gz")}
    oriented = False
    for done, case in enumerate(cohort.cases, start=1):
        assert case.reference is not None
        names = [f"{case.name}_{channel:04d}.nii.gz" for channel, _ in enumerate(cohort.images)]
        grid, affine, found, problems = read_on_grid(case, cohort.images)
        if problems:
            raise InputError(problems)
        oriented = oriented or affine is not None
        matrix = np.diag([*grid.spacing_mm, 1.0]) if affine is None else affine
        for file, data in zip(names, found, strict=True):
            _write(images / file, data, matrix)
        mask = read_mask(case.reference, Grid(grid.data.shape, grid.spacing_mm, affine)).voxels
        _write(labels / f"{case.name}.nii.gz", mask.astype(np.uint8), matrix)
        stale -= {*(images / file for file in names), labels / f"{case.name}.nii.gz"}
        if progress:
            progress(done, len(cohort.cases))
    for path in stale:  # of cases that only an earlier export had: nnU-Net would train on them
        path.unlink()
    dataset: dict[str, object] = {
        "channel_names": {str(channel): kind for channel, kind in enumerate(cohort.channels)},
        "labels": {"background": 0, "lesion": 1},
        "numTraining": len(cohort.cases),
        "file_ending": ".nii.gz",
    }
    if oriented:
        dataset["overwrite_image_reader_writer"] = _REORIENTING
    write_text(raw / name / "dataset.json", json.dumps(dataset, indent=1) + "\n")
    write_text(preprocessed / name / NNUNET_FILE, json.dumps(splits_of(folds), indent=1) + "\n")
    return Exported(raw, preprocessed, name)


def _write(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    write_bytes(path, gzip.compress(nib.Nifti1Image(data, affine).to_bytes(), compresslevel=1, mtime=0))
