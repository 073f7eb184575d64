"""One case from its two files: what a scoring process does. Imports no pandas, so that a process starts fast."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leaderboard.errors import InputError
from leaderboard.io import GridRule
from leaderboard.io.images import refuse_spare_bytes
from leaderboard.io.masks import read_mask
from leaderboard.scoring.metrics import measure


@dataclass(frozen=True)
class CaseResult:
    """The result of one case."""

    measures: dict[str, float | str]  #: status and metrics; empty if the reference cannot be read
    reference_faults: list[str]  #: of the reference
    prediction_faults: list[str]  #: of the prediction, which then counts as missing
    #: of the bytes of both files, taken before they were read, and of how grids are compared; None: one cannot be read
    digest: str | None
    was_turned: bool = False  #: the prediction is stored in another order of axes than its reference


def score_case(
    prediction: np.ndarray | None, reference: np.ndarray, spacing_mm: Sequence[float]
) -> dict[str, float | str]:
    """Status and metrics of one case.

    Args:
        prediction: the mask, shape (X, Y, Z), nonzero is lesion; None if there is none.
        reference: the ground truth, same shape.
        spacing_mm: size of a voxel along each axis.

    Returns:
        ``status`` and the values of `metrics.measure`. With a missing prediction only those of the reference.
    """
    if prediction is None:
        empty = np.zeros_like(reference, dtype=bool)
        measures = measure(empty, reference, spacing_mm)
        kept = ("reference_ml", "reference_lesions", "reference_lesions_6", "diagonal_mm")
        return {"status": "missing", **{name: measures[name] for name in kept}}
    predicted, present = bool(prediction.any()), bool(reference.any())
    status = {
        (True, True): "ok",
        (False, True): "empty_prediction",
        (True, False): "empty_reference",
        (False, False): "both_empty",
    }[predicted, present]
    return {"status": status, **measure(prediction, reference, spacing_mm)}


def score_files(files: tuple[Path, Path | None], rule: GridRule = "auto") -> CaseResult:
    """Score one case from its reference and its prediction (None if it has none)."""
    reference_path, prediction_path = files
    digest = content_digest(files, rule)
    try:
        reference = read_mask(reference_path)
    except InputError as error:
        return CaseResult({}, error.problems, [], digest)
    prediction, faults = None, []
    if prediction_path is not None:
        try:
            prediction = read_mask(prediction_path, reference.grid, rule)
        except InputError as error:
            faults = error.problems
    measures = score_case(prediction.voxels if prediction else None, reference.voxels, reference.spacing_mm)
    return CaseResult(measures, [], faults, digest, bool(prediction and prediction.was_turned))


def content_digest(files: tuple[Path, Path | None], rule: GridRule = "auto") -> str | None:
    """Digest of a reference and a prediction: of their bytes, the formats that their names tell, and the grid rule.

    None where a file cannot be read, or is far larger than an image.
    """
    digest = hashlib.sha256()
    for path in files:
        try:
            digest.update(f"{_file_digest(path) if path else 'none'}\n".encode())
        except (OSError, InputError):
            return None
    digest.update(rule.encode())
    return digest.hexdigest()


def _file_digest(path: Path) -> str:
    refuse_spare_bytes(path)
    with path.open("rb") as file:
        return f"{path.suffix.lower()} {hashlib.file_digest(file, 'sha256').hexdigest()}"
