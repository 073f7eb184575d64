"""One case from its two files: what a scoring process does. Imports no pandas, so that a process starts fast."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from leaderboard.errors import InputError, MachineError
from leaderboard.io import GridRule
from leaderboard.io.digests import file_digest
from leaderboard.io.images import refuse_spare_bytes
from leaderboard.io.masks import read_mask, read_probabilities
from leaderboard.scoring.metrics import measure
from leaderboard.scoring.probabilities import measure_map

#: A reference, the predicted mask or None, and perhaps the probability map behind it.
CaseFiles = tuple[Path, Path | None] | tuple[Path, Path | None, Path | None]


@dataclass(frozen=True)
class CaseResult:
    """The result of one case."""

    measures: dict[str, float | str]  #: status and metrics; empty if the reference cannot be read
    reference_faults: list[str]  #: of the reference
    prediction_faults: list[str]  #: of the prediction, which then counts as missing
    #: of the bytes of all files, taken before they were read, and of how grids are compared; None: one cannot be read
    digest: str | None
    was_turned: bool = False  #: the prediction is stored in another order of axes than its reference
    #: of the probability map; the prediction then counts as missing
    map_faults: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether there is nothing wrong with any file."""
        return not (self.reference_faults or self.prediction_faults or self.map_faults)


def score_case(
    prediction: np.ndarray | None,
    reference: np.ndarray,
    spacing_mm: Sequence[float],
    probabilities: np.ndarray | None = None,
) -> dict[str, float | str]:
    """Status and metrics of one case.

    Args:
        prediction: the mask, shape (X, Y, Z), nonzero is lesion; None if there is none.
        reference: the ground truth, same shape.
        spacing_mm: size of a voxel along each axis.
        probabilities: the map that the mask comes from, same shape, in [0, 1]; None if there is none.

    Returns:
        ``status``, the values of `metrics.measure` and, with a map, of `probabilities.measure_map`. With a missing
        prediction only those of the reference.
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
    of_map = {} if probabilities is None else measure_map(probabilities, reference)
    return {"status": status, **measure(prediction, reference, spacing_mm), **of_map}


def score_files(files: CaseFiles, rule: GridRule = "auto") -> CaseResult:
    """Score one case from its files.

    Raises:
        MachineError: a prediction or map cannot be read, which is not its fault.
    """
    reference_path, prediction_path, map_path = files if len(files) == 3 else (*files, None)
    digest = content_digest(files, rule)
    try:
        reference = read_mask(reference_path)
    except InputError as error:
        return CaseResult({}, error.problems, [], digest)
    prediction, probabilities = None, None
    faults, map_faults, turned = list[str](), list[str](), False
    if prediction_path is not None:
        try:
            mask = read_mask(prediction_path, reference.grid, rule)
            prediction, turned = mask.voxels, mask.was_turned
        except MachineError:
            raise
        except InputError as error:
            faults = error.problems
    if map_path is not None:
        try:
            probabilities, map_turned = read_probabilities(map_path, reference.grid, rule)
            turned = turned or map_turned
        except MachineError:
            raise
        except InputError as error:
            prediction, map_faults = None, error.problems
    measures = score_case(prediction, reference.voxels, reference.spacing_mm, probabilities)
    return CaseResult(measures, [], faults, digest, turned and prediction is not None, map_faults)


def content_digest(files: CaseFiles, rule: GridRule = "auto") -> str | None:
    """Digest of the files of a case: of their bytes, the formats that their names tell, and the grid rule.

    None where a file cannot be read, or is far larger than an image.
    """
    digest = hashlib.sha256()
    for path in files:
        try:
            digest.update(f"{_format_and_content(path) if path else 'none'}\n".encode())
        except (OSError, InputError):
            return None
    digest.update(rule.encode())
    return digest.hexdigest()


def _format_and_content(path: Path) -> str:
    refuse_spare_bytes(path)
    return f"{path.suffix.lower()} {file_digest(path)}"
