"""Pictures of single cases: a slice with the outlines of reference and prediction, exact to the voxel."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from leaderboard.cohort.case import Case
from leaderboard.cohort.formats import Cohort
from leaderboard.errors import InputError
from leaderboard.io.images import read_volume
from leaderboard.io.masks import read_mask
from leaderboard.ranking.reading import VOLUME_TOLERANCE
from leaderboard.report.content import Content
from leaderboard.scoring.metrics import crop_to_joint_box, overlap, volumes
from leaderboard.scoring.submission import match_predictions, open_submission

#: Where a method's predictions lie: a folder or zip, several (one a fold), or a function from a case's name to a file.
Predictions = Path | Sequence[Path] | Callable[[str], Path | None]
#: All pictures together take at most so many bytes of the page.
BUDGET_BYTES = 3_000_000
_JPEG_QUALITY = 82
_MARGIN = 3
# Tables may have been written with fewer digits.
_DICE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Picture:
    """One slice for the page.

    Attributes:
        method: whose prediction.
        role: ``best``, ``median`` or ``worst``, by Dice; several where a method has few cases.
        case: the case's name.
        dice: as the policy counts it.
        status: as in cases.csv.
        slice: number of the slice from 1, and how many there are.
        image: inline SVG.
    """

    method: str
    role: str
    case: str
    dice: float
    status: str
    slice: tuple[int, int]
    image: str


@dataclass(frozen=True)
class _Example:
    """A case to draw.

    Attributes:
        role: ``best``, ``median`` or ``worst``.
        case: its name.
        row: its row of cases.csv, as measured.
        dice: as the policy counts it.
    """

    role: str
    case: str
    row: Mapping[Hashable, Any]
    dice: float


#: A function from a case's name to the files of its predictions, each with the path that its owner knows.
_Find = Callable[[str], Sequence[tuple[Path, Path]]]


def take_pictures(
    content: Content, cohort: Cohort, predictions: Mapping[str, Predictions]
) -> tuple[list[Picture], list[str]]:
    """The best, median and worst case of each method that has predictions.

    What is drawn must be what was scored: masks are read as `leaderboard check` reads them, and Dice and reference
    volume are computed again.

    Args:
        content: the ranking.
        cohort: where references and images lie.
        predictions: by method.

    Returns:
        The pictures by rank, and a line for whatever is not pictured.

    Raises:
        InputError: a file to draw is at fault, or not what the table was made from; with every problem.
    """
    by_name = {case.name: case for case in cohort.cases}
    pictures: list[Picture] = []
    notes: list[str] = []
    problems: list[str] = []
    for method in content.methods:
        if method not in predictions:
            notes.append(f"{method}: no predictions were given for its pictures")
            continue
        try:
            with _opened(predictions[method], cohort.cases) as find:
                for example in exemplary(content, method):
                    if sum(len(picture.image) for picture in pictures) > BUDGET_BYTES:
                        notes.append(
                            f"{method}: its {example.role} case is not pictured, the page would grow too large"
                        )
                        continue
                    try:
                        case = _with_reference(by_name, example.case, cohort)
                        pictures.append(_take(method, example, case, find(example.case), cohort))
                    except InputError as error:
                        problems += error.problems
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(dict.fromkeys(problems))
    return pictures, notes


def _with_reference(by_name: Mapping[str, Case], name: str, cohort: Cohort) -> Case:
    """The case of that name, if it has a reference."""
    case = by_name.get(name)
    if case is None or case.reference is None:
        raise InputError(
            f"{cohort.root}: has no reference of {name} in its {cohort.partition} cases: give the cohort, and with "
            "--partition the part of it, that was scored"
        )
    return case


@contextmanager
def _opened(predictions: Predictions, cases: Sequence[Case]) -> Iterator[_Find]:
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


def exemplary(content: Content, method: str) -> Iterator[_Example]:
    """The best, the median and the worst case by Dice; equal cases in natural order."""
    rows = content.rows_by_method[method]
    dice = content.values(method, "dice")
    order = sorted(range(len(rows)), key=lambda row: (-dice[row], row))
    roles: dict[int, list[str]] = {}
    for role, row in (("best", order[0]), ("median", order[(len(order) - 1) // 2]), ("worst", order[-1])):
        roles.setdefault(row, []).append(role)
    records = rows.to_dict("records")
    for row, names in roles.items():
        yield _Example(" and ".join(names), str(records[row]["case"]), records[row], float(dice[row]))


def _take(method: str, example: _Example, case: Case, files: Sequence[tuple[Path, Path]], cohort: Cohort) -> Picture:
    if case.reference is None:
        raise InputError(f"{case.name}: has no reference")
    shown = next((kind for kind in cohort.images if kind.name == cohort.background), None)
    lesion, spacing_mm = read_mask(case.reference)
    _check_reference(case, lesion, spacing_mm, example)
    predicted = _prediction(method, example, lesion, spacing_mm, files)
    background = read_volume(case.images[shown.name]).data if shown else np.zeros(lesion.shape)
    if background.shape != lesion.shape:
        raise InputError(
            f"{case.images[cohort.background]}: differs in shape from the reference of {case.name}: give the "
            "cohort that was scored, undamaged"
        )
    number = best_slice(lesion, predicted)
    plane = np.asarray(background[..., number], dtype=float)
    image = outline_image(
        plane,
        lesion[..., number],
        predicted[..., number],
        spacing_mm[:2],
        window=shown.shown if shown else None,
        label=(
            f"{case.name}, slice {number + 1} of {lesion.shape[2]}, of {method}: {_shares(lesion, predicted, number)} "
            f"Dice of the case {example.dice:.2f}."
        ),
    )
    status = str(example.row["status"])
    return Picture(method, example.role, case.name, example.dice, status, (number + 1, lesion.shape[2]), image)


def _check_reference(case: Case, lesion: np.ndarray, spacing_mm: Sequence[float], example: _Example) -> None:
    """Refuse a reference that is not the one that was scored."""
    volume, tabled = volumes(lesion, lesion, spacing_mm)["reference_ml"], float(example.row["reference_ml"])
    if abs(volume - tabled) > VOLUME_TOLERANCE * max(volume, tabled):
        raise InputError(
            f"{case.reference}: holds {volume:g} mL where the table has {tabled:g} mL for {case.name}: give the "
            "cohort, and with --partition the part of it, that was scored"
        )


def _prediction(
    method: str,
    example: _Example,
    lesion: np.ndarray,
    spacing_mm: tuple[float, float, float],
    files: Sequence[tuple[Path, Path]],
) -> np.ndarray:
    """The mask that was scored; an empty one where the table counts the case as missing.

    Raises:
        InputError: there is none or more than one, it is damaged, or it was not the one that was scored.
    """
    missing = example.row["status"] == "missing"
    nothing = np.zeros_like(lesion)
    if missing and len(files) != 1:  # none, or several, which a lenient scoring counts as none
        return nothing
    if not files:
        raise InputError(
            f"{method}: has no prediction of {example.case}, which the table has a score of: give --predictions "
            f"{method}=DIR for every folder or zip that was scored"
        )
    if len(files) > 1:
        others = ", ".join(str(shown) for shown, _ in files[1:])
        raise InputError(f"{files[0][0]}: {example.case} is predicted again by {others}: give the one that was scored")
    shown, path = files[0]
    try:
        mask = read_mask(path, lesion.shape, spacing_mm)[0]
    except InputError as error:
        if missing:  # what a lenient scoring refused as well
            return nothing
        raise InputError(problem.replace(str(path), str(shown), 1) for problem in error.problems) from None
    if missing:
        raise InputError(
            f"{shown}: can be scored, yet the table counts {example.case} of {method} as missing: score again, or give "
            "the predictions that were scored"
        )
    dice, tabled = overlap(*crop_to_joint_box(mask, lesion))["dice"], float(example.row["dice"])
    if not np.isclose(dice, tabled, rtol=0, atol=_DICE_TOLERANCE, equal_nan=True):
        raise InputError(
            f"{shown}: has Dice {dice:.6g} with the reference of {example.case} where the table has {tabled:.6g} for "
            f"{method}: give the predictions that were scored, or score again"
        )
    return mask


def best_slice(reference: np.ndarray, prediction: np.ndarray) -> int:
    """The slice with most reference, or most prediction where there is no reference; the middle one of two empty."""
    mask = reference if reference.any() else prediction
    areas = np.count_nonzero(mask, axis=(0, 1))
    return int(areas.argmax()) if areas.any() else mask.shape[2] // 2


def outline_image(
    plane: np.ndarray,
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing_mm: Sequence[float],
    *,
    window: tuple[float, float] | None,
    label: str,
) -> str:
    """An inline SVG: the plane in grey, the prediction's outline filled, the reference's drawn over it.

    Args:
        plane: shape (X, Y). X runs to the right, Y upwards, as stored.
        reference: mask of the same shape.
        prediction: mask of the same shape.
        spacing_mm: size of a pixel along X and Y.
        window: values shown black and white; None takes the plane's own range.
        label: for those who do not see it.
    """
    from html import escape

    box = _box((np.abs(plane) > 0) if window is None else (plane > window[0]), reference | prediction)
    grey = _grey(plane[box], window)
    dx, dy = (float(size) for size in spacing_mm)
    width, height = grey.shape[0] * dx, grey.shape[1] * dy
    paths = [
        f'<path class="{name}" transform="scale({dx:.4g} {dy:.4g})" d="{outline(mask[box])}"/>'
        for name, mask in (("prediction", prediction), ("reference", reference))
        if mask.any()
    ]
    return (
        f'<svg class="slice" role="img" aria-label="{escape(label)}" viewBox="0 0 {width:.4g} {height:.4g}">'
        f'<image width="{width:.4g}" height="{height:.4g}" preserveAspectRatio="none" '
        f'href="data:image/jpeg;base64,{_jpeg(grey)}"/>{"".join(paths)}</svg>'
    )


def outline(mask: np.ndarray) -> str:
    """The borders between the pixels of a mask and the others: closed lines along pixel edges, as an SVG path's data.

    Args:
        mask: shape (X, Y); the path has Y upwards, so that the last column of the array is at 0.
    """
    ends = _borders(mask[:, ::-1])
    parts = []
    while ends:
        start = at = next(iter(ends))
        corners = []
        direction = (0, 0)
        while True:
            onward = ends[at].pop()
            if not ends[at]:
                del ends[at]
            step = (onward[0] - at[0], onward[1] - at[1])
            if step != direction:
                corners.append(at)
            at, direction = onward, step
            if at == start:
                break
        first, *others = corners
        moves = [
            f"h{x - before[0]}" if y == before[1] else f"v{y - before[1]}"
            for before, (x, y) in zip(corners, others, strict=False)
        ]
        parts.append(f"M{first[0]} {first[1]}{''.join(moves)}z")
    return "".join(parts)


def _borders(mask: np.ndarray) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """From each corner on a border, the corners that the border leads to, the mask always on the same side."""
    padded = np.pad(mask.astype(np.int8), 1)
    ends: dict[tuple[int, int], list[tuple[int, int]]] = {}
    across, along = np.diff(padded, axis=0)[:, 1:-1], np.diff(padded, axis=1)[1:-1]
    for x, y in np.argwhere(across).tolist():
        a, b = ((x, y + 1), (x, y)) if across[x, y] > 0 else ((x, y), (x, y + 1))
        ends.setdefault(a, []).append(b)
    for x, y in np.argwhere(along).tolist():
        a, b = ((x, y), (x + 1, y)) if along[x, y] > 0 else ((x + 1, y), (x, y))
        ends.setdefault(a, []).append(b)
    return ends


def _box(tissue: np.ndarray, lesions: np.ndarray) -> tuple[slice, slice]:
    """The part of the plane that holds anything, with a margin."""
    shown = tissue | lesions
    if not shown.any():
        return slice(None), slice(None)
    spans = [np.flatnonzero(shown.any(axis=axis)) for axis in (1, 0)]
    first, second = (slice(max(int(span[0]) - _MARGIN, 0), int(span[-1]) + _MARGIN + 1) for span in spans)
    return first, second


def _grey(plane: np.ndarray, window: tuple[float, float] | None) -> np.ndarray:
    """Values 0 to 255 as bytes."""
    plane = np.nan_to_num(plane)
    low, high = window or (float(plane.min()), float(np.percentile(plane, 99.5)))
    return (np.clip((plane - low) / max(high - low, 1e-9), 0, 1) * 255).round().astype(np.uint8)


def _jpeg(grey: np.ndarray) -> str:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(grey[:, ::-1].T)).save(stream, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _shares(reference: np.ndarray, prediction: np.ndarray, number: int) -> str:
    """What the two outlines cover, in words."""
    lesion, predicted = reference[..., number], prediction[..., number]
    both = int(np.count_nonzero(lesion & predicted))
    return (
        f"{np.count_nonzero(lesion)} voxels of reference, {np.count_nonzero(predicted)} of prediction, {both} of both."
    )
