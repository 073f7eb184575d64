"""A cohort as an nnU-Net v2 raw dataset, with our folds as its splits (``benchmark export-nnunet``).

So nnU-Net trains and validates on the same patients, and its validation predictions,
``fold_<k>/validation/case_<n>.nii.gz``, are scored as they come. The format is that of nnU-Net's documentation,
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

from benchmark.cohort.folds import Folds, folds_within
from leaderboard.cohort.formats import Cohort
from leaderboard.errors import InputError
from leaderboard.io.grids import affine_of
from leaderboard.io.images import read_volume, write_bytes, write_text
from leaderboard.io.masks import binary_mask


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

    Images are float32 in physical units. Where a header tells no affine, as in ISLES 2018, it is made of the spacing,
    which nnU-Net would not see otherwise. An earlier export of the same number is replaced.

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
    for done, case in enumerate(cohort.cases, start=1):
        assert case.reference is not None
        files = {
            images / f"{case.name}_{channel:04d}.nii.gz": case.images[kind]
            for channel, kind in enumerate(cohort.channels)
        }
        for path, source in files.items():
            _write(path, source, np.float32)
        _write(labels / f"{case.name}.nii.gz", case.reference, np.uint8)
        stale -= {*files, labels / f"{case.name}.nii.gz"}
        if progress:
            progress(done, len(cohort.cases))
    for path in stale:  # of cases that only an earlier export had: nnU-Net would train on them
        path.unlink()
    dataset = {
        "channel_names": {str(channel): kind for channel, kind in enumerate(cohort.channels)},
        "labels": {"background": 0, "lesion": 1},
        "numTraining": len(cohort.cases),
        "file_ending": ".nii.gz",
    }
    splits = [
        {"train": list(folds.training(fold)), "val": list(folds.validation(fold))}
        for fold in sorted(set(folds.fold_of.values()))
    ]
    write_text(raw / name / "dataset.json", json.dumps(dataset, indent=1) + "\n")
    write_text(preprocessed / name / "splits_final.json", json.dumps(splits, indent=1) + "\n")
    return Exported(raw, preprocessed, name)


def _write(path: Path, source: Path, dtype: type) -> None:
    volume = read_volume(source)
    data = binary_mask(volume.data, source) if dtype is np.uint8 else volume.data
    affine = affine_of(volume.header, volume.spacing_mm)
    if affine is None:  # nnU-Net takes the voxel size from it
        affine = np.diag([*volume.spacing_mm, 1.0])
    image = nib.Nifti1Image(data.astype(dtype), affine)
    write_bytes(path, gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))
