"""The masks behind a table: where a method's predictions are, and a check that they are those that were scored."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from leaderboard.cohort.case import Case
from leaderboard.cohort.formats import Cohort
from leaderboard.errors import InputError
from leaderboard.io import GridRule
from leaderboard.io.masks import Mask, read_mask
from leaderboard.ranking.reading import VOLUME_TOLERANCE
from leaderboard.scoring.metrics import crop_to_joint_box, overlap, volumes
from leaderboard.scoring.submission import match_predictions, open_submission

#: Where a method's predictions are: a folder or zip, several (one per fold), or a function from a case to a file.
Predictions = Path | Sequence[Path] | Callable[[str], Path | None]
#: A row of cases.csv, as measured.
Row = Mapping[Hashable, Any]
#: The files of a case's predictions, each with the path that its owner sees.
Files = Sequence[tuple[Path, Path]]
#: A function from a case's name to them.
Find = Callable[[str], Files]
# Tables may have been written with fewer digits.
_DICE_TOLERANCE = 1e-6


def with_reference(by_name: Mapping[str, Case], name: str, cohort: Cohort) -> Case:
    """The case of that name, if it has a reference."""
    case = by_name.get(name)
    if case is None or case.reference is None:
        raise InputError(
            f"{cohort.root}: has no reference of {name} in its {cohort.partition} cases: give the cohort, and with "
            "--partition the part of it, that was scored"
        )
    return case


@contextmanager
def opened_predictions(predictions: Predictions, cases: Sequence[Case]) -> Iterator[Find]:
    """Where a method's predictions are; a zip is unpacked meanwhile.

    Raises:
        InputError: a folder or zip is not there or holds no predictions.
    """
    if callable(predictions):
        yield lambda name: [(path, path)] if (path := predictions(name)) else []
        return
    files: dict[str, list[tuple[Path, Path]]] = {}
    with ExitStack() as stack:
        for place in [predictions] if isinstance(predictions, Path) else predictions:
            submission = stack.enter_context(open_submission(place))
            matches = match_predictions(list(submission.files), cases)
            for case, shown in matches.files.items():
                files.setdefault(case, []).append((shown, submission.files[shown]))
            for case, doubled in matches.doubled.items():
                files.setdefault(case, []).extend((shown, submission.files[shown]) for shown in doubled)
        yield lambda name: files.get(name, ())


def read_reference(case: Case, row: Row) -> Mask:
    """The reference of a case.

    Raises:
        InputError: it is damaged, or is not the one that was scored.
    """
    if case.reference is None:
        raise InputError(f"{case.name}: has no reference")
    reference = read_mask(case.reference)
    volume = volumes(reference.voxels, reference.voxels, reference.spacing_mm)["reference_ml"]
    tabled = float(row["reference_ml"])
    if abs(volume - tabled) > VOLUME_TOLERANCE * max(volume, tabled):
        raise InputError(
            f"{case.reference}: holds {volume:g} mL where the table has {tabled:g} mL for {case.name}: give the "
            "cohort, and with --partition the part of it, that was scored"
        )
    return reference


def read_scored(method: str, row: Row, reference: Mask, files: Files, rule: GridRule) -> np.ndarray:
    """The mask that was scored, in the order of axes of its reference; an empty one where the case counts as missing.

    Args:
        method: whose mask.
        row: of the case.
        reference: of the case.
        files: the method's predictions of it.
        rule: how their grids were compared when they were scored.

    Raises:
        InputError: there is none or more than one, it is damaged, or it was not the one that was scored.
    """
    missing = row["status"] == "missing"
    lesion, nothing = reference.voxels, np.zeros_like(reference.voxels)
    if missing and len(files) != 1:  # none, or several, which a lenient scoring counts as missing
        return nothing
    if not files:
        raise InputError(
            f"{method}: has no prediction of {row['case']}, which the table has a score of: give --predictions "
            f"{method}=DIR for every folder or zip that was scored"
        )
    if len(files) > 1:
        others = ", ".join(str(shown) for shown, _ in files[1:])
        raise InputError(f"{files[0][0]}: {row['case']} is predicted again by {others}: give the one that was scored")
    shown, path = files[0]
    try:
        mask = read_mask(path, reference.grid, rule).voxels
    except InputError as error:
        if missing:  # a lenient scoring refused it as well
            return nothing
        raise InputError(problem.replace(str(path), str(shown), 1) for problem in error.problems) from None
    if missing:
        raise InputError(
            f"{shown}: can be scored, yet the table counts {row['case']} of {method} as missing: score again, or give "
            "the predictions that were scored"
        )
    dice, tabled = overlap(*crop_to_joint_box(mask, lesion))["dice"], float(row["dice"])
    if not np.isclose(dice, tabled, rtol=0, atol=_DICE_TOLERANCE, equal_nan=True):
        raise InputError(
            f"{shown}: has Dice {dice:.6g} with the reference of {row['case']} where the table has {tabled:.6g} for "
            f"{method}: give the predictions that were scored, or score again"
        )
    return mask
